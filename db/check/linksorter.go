package check

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"weft.dev/weft/db/insert"
	"weft.dev/weft/db/logrow"
)

// linkSorter sorts links of log rows by record and link, the newest first. SQLite sorts them, in temporary files if
// they are many, so that memory doesn't depend on the length of the log.
type linkSorter struct {
	base *sql.DB
	tx   *sql.Tx
	in   *insert.Inserter
}

func newLinkSorter() (*linkSorter, error) {
	base, err := sql.Open("sqlite", "file:") // a temporary file, which SQLite deletes
	if err != nil {
		return nil, fmt.Errorf("sort links: %w", err)
	}
	base.SetMaxOpenConns(1)
	s := &linkSorter{base: base}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("sort links: %w", err), base.Close())
	}
	return s, nil
}

func (s *linkSorter) open() (err error) {
	_, err = s.base.Exec(`CREATE TABLE changes (seq INTEGER, op INTEGER, actor INTEGER, collection INTEGER, rkey BLOB,
		link_op INTEGER, source INTEGER, target BLOB, rank INTEGER)`)
	if err != nil {
		return err
	}
	s.in, err = insert.Prepare(s.base,
		"changes (seq, op, actor, collection, rkey, link_op, source, target, rank)")
	if err != nil {
		return err
	}
	s.tx, err = s.base.Begin()
	return err
}

// add adds a link of a log row.
func (s *linkSorter) add(r *logrow.Row, l *logrow.LinkRow) error {
	return s.in.Put(s.tx, int64(r.Seq), int64(r.Op), int64(r.Actor), int64(r.Collection), r.Rkey, int64(l.Op),
		int64(l.Source), l.Target, l.Rank)
}

// each passes on the links in order.
func (s *linkSorter) each(ctx context.Context, do func(r *logrow.Row, l *logrow.LinkRow) error) error {
	if err := s.in.Flush(s.tx); err != nil {
		return fmt.Errorf("sort links: %w", err)
	}
	rows, err := s.tx.QueryContext(ctx, `SELECT seq, op, actor, collection, rkey, link_op, source, target, rank
		FROM changes ORDER BY actor, collection, rkey, source, target, seq DESC, link_op DESC`)
	if err != nil {
		return fmt.Errorf("sort links: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r logrow.Row
		var l logrow.LinkRow
		if err := rows.Scan(logrow.Unsigned(&r.Seq), logrow.Unsigned(&r.Op), logrow.Unsigned(&r.Actor),
			logrow.Unsigned(&r.Collection), &r.Rkey, logrow.Unsigned(&l.Op), logrow.Unsigned(&l.Source), &l.Target,
			&l.Rank); err != nil {
			return fmt.Errorf("sort links: %w", err)
		}
		if err := do(&r, &l); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *linkSorter) close() {
	if s.tx != nil {
		_ = s.tx.Rollback()
	}
	_ = s.base.Close() // the file is gone
}
