package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

const (
	// rowsSchema is the last schema that has a row for each log row. Its tables are empty when the next one drops them.
	rowsSchema = 12
	// packRows is the number of log rows that are packed at once, and packCommit that of a transaction: few enough that
	// its pages fit a small disk, and enough that its commit is no cost.
	packRows   = 4 * logrow.BlockRows
	packCommit = 64 * packRows
	// packBytes is the bytes of links beside their rows from which on fewer rows are packed at once: a row may have 4,096
	// of eight kilobytes.
	packBytes = 4 << 20
	// tellPacking is the interval at which the progress is logged.
	tellPacking = 10 * time.Second
)

// packLog moves the log from the tables records and more_links into the blocks of the table log, oldest rows first. It
// goes on where it ended if the process was killed meanwhile, or ctx was cancelled: no statement has ctx, because that
// would close the writer's connection.
func packLog(ctx context.Context, db *sql.DB, logger *slog.Logger) error {
	var left int64
	if err := db.QueryRow(`SELECT ifnull((SELECT max(seq) FROM records), 0) -
		ifnull((SELECT min(seq) FROM records), 1) + 1`).Scan(&left); err != nil {
		return err
	}
	if left > packCommit {
		logger.Info("packing the log into blocks", "rows", left)
	}
	said := time.Now()
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err // the next start goes on
		}
		n, err := packSome(db, packCommit)
		if errors.Is(err, codec.ErrMalformed) {
			err = fmt.Errorf("%w (restore weft.db from its replica with weft restore --force)", err)
		}
		if err != nil {
			return fmt.Errorf("pack the log into blocks: %w", err)
		}
		if n == 0 {
			break
		}
		left -= n
		// The store doesn't checkpoint yet, and the WAL would grow to the size of the log.
		if _, err := db.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
			return err
		}
		if time.Since(said) >= tellPacking {
			said = time.Now()
			logger.Info("packing the log into blocks", "rows_left", left)
		}
	}
	_, err := db.Exec(`INSERT INTO sqlite_sequence (name, seq) SELECT 'log', seq FROM sqlite_sequence
		WHERE name = 'records' AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'log')`)
	return err
}

// packSome packs the oldest log rows, at least most if there are so many, in a transaction. It returns their number.
func packSome(db *sql.DB, most int64) (n int64, err error) {
	tx, err := db.Begin()
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	var w logrow.BlockWriter
	for n < most {
		rows, err := oldestRows(tx)
		if err != nil {
			return 0, err
		}
		if len(rows.Log) == 0 {
			break
		}
		if _, err := w.Write(rows, true, func(args ...any) error {
			_, err := tx.Exec(logrow.InsertBlock, args...)
			return err
		}); err != nil {
			return 0, err
		}
		last := rows.Log[len(rows.Log)-1].Seq
		_, err = tx.Exec("DELETE FROM records WHERE seq <= ?", int64(last))
		if err != nil {
			return 0, err
		}
		_, err = tx.Exec("DELETE FROM more_links WHERE id < ?", int64((last+1)<<logrow.LinkShift))
		if err != nil {
			return 0, err
		}
		n += int64(len(rows.Log))
	}
	return n, tx.Commit()
}

// oldestRows reads some of the oldest log rows with consecutive numbers, and their links.
func oldestRows(tx *sql.Tx) (all logrow.Rows, err error) {
	rows, err := tx.Query(`SELECT seq, time_us, op, actor, ifnull(collection, 0), rkey, ifnull(rev, 0),
		ifnull(status, 0), ifnull(source, 0), target FROM records ORDER BY seq LIMIT ?`, packRows)
	if err != nil {
		return all, err
	}
	defer func() { _ = rows.Close() }()
	var firsts []logrow.LinkRow // the links that are in their rows
	for rows.Next() {
		r, first, err := scanRow(rows)
		if err != nil {
			return all, err
		}
		if n := len(all.Log); n > 0 && all.Log[n-1].Seq+1 != r.Seq {
			break
		}
		if first.Source != 0 {
			firsts = append(firsts, first)
		}
		all.Log = append(all.Log, r)
	}
	if err := errors.Join(rows.Close(), rows.Err()); err != nil || len(all.Log) == 0 {
		return all, err
	}
	return withLinks(tx, all.Log, firsts)
}

// withLinks returns rows with their links. firsts are those that are in their rows. It returns fewer rows if they have
// many links.
func withLinks(tx *sql.Tx, log []logrow.Row, firsts []logrow.LinkRow) (all logrow.Rows, err error) {
	rows, err := tx.Query("SELECT id, op, source, target, ifnull(rank, -1) FROM more_links WHERE id < ? ORDER BY id",
		int64((log[len(log)-1].Seq+1)<<logrow.LinkShift))
	if err != nil {
		return all, err
	}
	defer func() { _ = rows.Close() }()
	others := linkRows{rows: rows}
	if err := others.advance(); err != nil {
		return all, err
	}
	bytes := 0
	for i := range log {
		if len(all.Links) >= logrow.ReadLinks || bytes >= packBytes {
			break
		}
		seq := log[i].Seq
		all.Log = log[:i+1]
		if len(firsts) > 0 && firsts[0].ID>>logrow.LinkShift == seq {
			all.Links = append(all.Links, firsts[0])
			firsts = firsts[1:]
		}
		for others.more && others.next.ID>>logrow.LinkShift <= seq {
			all.Links = append(all.Links, others.next)
			bytes += len(others.next.Target)
			if err := others.advance(); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// linkRows reads rows of the table more_links.
type linkRows struct {
	rows *sql.Rows
	next logrow.LinkRow
	more bool // false: next is none
}

func (l *linkRows) advance() (err error) {
	l.more = l.rows.Next()
	if !l.more {
		return l.rows.Err()
	}
	l.next, err = scanLink(l.rows)
	return err
}

// scanRow reads a row of the table records. It scans numbers as int64, which is what SQLite has: any other type takes
// longer. first is the link in the row; its Source is 0 where there is none.
func scanRow(rows *sql.Rows) (r logrow.Row, first logrow.LinkRow, err error) {
	var rkey any
	var seq, op, actor, collection, rev, status, source int64
	if err := rows.Scan(&seq, &r.TimeUS, &op, &actor, &collection, &rkey, &rev, &status, &source,
		&first.Target); err != nil {
		return r, first, fmt.Errorf("log row %d: %w", seq, err)
	}
	r = logrow.Row{Seq: uint64(seq), TimeUS: r.TimeUS, Op: logrow.Op(op), Actor: uint64(actor),
		Collection: uint64(collection), Rev: uint64(rev), Status: uint8(status)} // a TID may use the sign bit
	r.Rkey, err = codec.DecodeRkeyColumn(rkey)
	if err == nil && (min(seq, actor, collection, source) < 0 || op != int64(r.Op) || status != int64(r.Status) ||
		(source == 0) != (first.Target == nil)) {
		err = codec.ErrMalformed
	}
	if err != nil {
		return r, first, fmt.Errorf("log row %d: %w", r.Seq, err)
	}
	first.ID = r.Seq << logrow.LinkShift
	first.Op = codec.Linked
	if r.Op == logrow.OpDelete {
		first.Op = codec.Unlinked
	}
	first.Source = uint64(source)
	first.Rank = -1
	return r, first, nil
}

// scanLink reads a row of the table more_links.
func scanLink(rows *sql.Rows) (l logrow.LinkRow, err error) {
	err = rows.Scan(logrow.Unsigned(&l.ID), logrow.Unsigned(&l.Op), logrow.Unsigned(&l.Source), &l.Target, &l.Rank)
	if err == nil && (l.Op > codec.Linked || l.Rank < -1 || l.ID > math.MaxInt64) {
		err = codec.ErrMalformed
	}
	if err != nil {
		return l, fmt.Errorf("link row %d: %w", l.ID, err)
	}
	return l, nil
}
