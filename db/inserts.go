package db

import (
	"database/sql"
	"fmt"
	"strings"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// inserter inserts rows into one table, many per statement: a statement costs more than a row.
type inserter struct {
	one, some, many *sql.Stmt
	columns         int
	args            []any
}

const (
	// insertRows is the number of rows of a long statement. More rows bring no measurable gain.
	insertRows = 64
	// someRows is the number of rows of the statements for the rest: a batch of the live stream has a few dozen rows.
	someRows = 8
)

func prepareInsert(db *sql.DB, table string) (*inserter, error) {
	columns := strings.Count(table, ",") + 1
	values := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	in := &inserter{columns: columns}
	for _, stmt := range []struct {
		into **sql.Stmt
		rows int
	}{{&in.one, 1}, {&in.some, someRows}, {&in.many, insertRows}} {
		var err error
		*stmt.into, err = db.Prepare("INSERT INTO " + table + " VALUES " +
			strings.TrimSuffix(strings.Repeat(values+",", stmt.rows), ","))
		if err != nil {
			return nil, err
		}
	}
	return in, nil
}

// put queues a row, and inserts a full statement.
func (in *inserter) put(tx *sql.Tx, values ...any) error {
	in.args = append(in.args, values...)
	if len(in.args) < in.columns*insertRows {
		return nil
	}
	_, err := tx.Stmt(in.many).Exec(in.args...)
	in.args = in.args[:0]
	return err
}

// flush inserts the queued rows.
func (in *inserter) flush(tx *sql.Tx) error {
	args := in.args
	in.args = in.args[:0]
	for _, stmt := range []struct {
		*sql.Stmt
		rows int
	}{{in.some, someRows}, {in.one, 1}} {
		n := in.columns * stmt.rows
		if len(args) < n {
			continue
		}
		s := tx.Stmt(stmt.Stmt)
		for ; len(args) >= n; args = args[n:] {
			if _, err := s.Exec(args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// inserters are the statements of the writer.
type inserters struct {
	actors, collections, sources, log, links *inserter

	blocks, bodies, replaced *inserter // nil: nothing is kept

	upstream, checksum *sql.Stmt // upsertUpstream, logrow.UpdateChecksum
}

// insert describes the statements of an inserter.
type insert struct {
	in    **inserter
	table string // with its columns
}

func (ins *inserters) prepare(db *sql.DB, bodies bool) (err error) {
	all := []insert{
		{&ins.actors, "actors (id, did)"},
		{&ins.collections, "collections (id, nsid)"},
		{&ins.sources, "sources (id, collection, path)"},
		{&ins.log, logrow.Table},
		{&ins.links, logrow.LinkTable},
	}
	if bodies {
		all = append(all, insert{&ins.blocks, "blocks (id, digest, body)"},
			insert{&ins.bodies, "bodies (seq, block)"},
			insert{&ins.replaced, "replaced (seq, body)"})
	}
	for _, t := range all {
		*t.in, err = prepareInsert(db, t.table)
		if err != nil {
			return fmt.Errorf("db: prepare insert into %s: %w", t.table, err)
		}
	}
	ins.upstream, err = db.Prepare(upsertUpstream)
	if err != nil {
		return fmt.Errorf("db: prepare the position of an upstream: %w", err)
	}
	ins.checksum, err = db.Prepare(logrow.UpdateChecksum)
	if err != nil {
		return fmt.Errorf("db: prepare the update of a checksum: %w", err)
	}
	return nil
}

// add inserts names, log rows and their links. Some rows stay queued until a statement is full or finish is called.
func (ins *inserters) add(tx *sql.Tx, rs *apply.Rows) error {
	for _, n := range rs.Names {
		var err error
		switch n.Kind {
		case 'd':
			err = ins.actors.put(tx, int64(n.ID), n.Name)
		case 'c':
			err = ins.collections.put(tx, int64(n.ID), n.Name)
		default:
			err = ins.sources.put(tx, int64(n.ID), int64(n.Collection), n.Name)
		}
		if err != nil {
			return err
		}
	}
	for i := range rs.Log {
		r := &rs.Log[i]
		if err := ins.log.put(tx, int64(r.Seq), r.TimeUS, int64(r.Op), int64(r.Actor), orNull(int64(r.Collection), 0),
			codec.RkeyColumn(r.Rkey), orNull(int64(r.Rev), 0), orNull(int64(r.StatusColumn()), 0)); err != nil {
			return err
		}
	}
	for i := range rs.Links {
		l := &rs.Links[i]
		if err := ins.links.put(tx, int64(l.ID), int64(l.Op), int64(l.Source), l.Target,
			orNull(l.Rank, -1)); err != nil {
			return err
		}
	}
	return nil
}

// finish inserts the waiting rows, and all other rows of a batch except its bodies.
func (ins *inserters) finish(tx *sql.Tx, rs *apply.Rows) error {
	for _, in := range []*inserter{ins.actors, ins.collections, ins.sources, ins.log, ins.links} {
		if err := in.flush(tx); err != nil {
			return err
		}
	}
	for _, st := range rs.Status {
		if _, err := tx.Exec("UPDATE actors SET status = ?, since_us = ? WHERE id = ?",
			int64(st.Status), st.SinceUS, int64(st.Actor)); err != nil {
			return err
		}
	}
	for _, r := range rs.Resyncs {
		if _, err := tx.Exec("DELETE FROM resyncs WHERE actor = ?", int64(r.Actor)); err != nil {
			return err
		}
		if r.Aborted {
			continue
		}
		if r.Since == 0 {
			_, err := tx.Exec(
				"INSERT INTO synced (actor, rev) VALUES (?, ?) ON CONFLICT (actor) DO UPDATE SET rev = excluded.rev",
				int64(r.Actor), int64(r.Rev))
			if err != nil {
				return err
			}
			continue
		}
		if _, err := tx.Exec("INSERT INTO resyncs (actor, rev, since_seq, host, sync_seq) VALUES (?, ?, ?, ?, ?)",
			int64(r.Actor), int64(r.Rev), int64(r.Since), r.Host, int64(r.Sync)); err != nil {
			return err
		}
	}
	return nil
}

func orNull(v, null int64) any {
	if v == null {
		return nil
	}
	return v
}
