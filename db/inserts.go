package db

import (
	"database/sql"
	"fmt"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/insert"
	"weft.dev/weft/db/logrow"
)

// inserters are the statements of the writer.
type inserters struct {
	actors, collections, sources *insert.Inserter

	contents, bodies, replaced *insert.Inserter // nil: nothing is kept

	upstream, checksum, block *sql.Stmt // upsertUpstream, logrow.UpdateChecksum, logrow.InsertBlock

	log    logrow.Rows // rows that wait until they fill a block, or for finish
	blocks logrow.BlockWriter
}

// insertTable is a table and where its inserter is kept.
type insertTable struct {
	in    **insert.Inserter
	table string // with its columns
}

func (ins *inserters) prepare(db *sql.DB, bodies bool) (err error) {
	all := []insertTable{
		{&ins.actors, "actors (id, did)"},
		{&ins.collections, "collections (id, nsid)"},
		{&ins.sources, "sources (id, collection, path)"},
	}
	if bodies {
		all = append(all, insertTable{&ins.contents, "blocks (id, digest, body)"},
			insertTable{&ins.bodies, "bodies (seq, block)"},
			insertTable{&ins.replaced, "replaced (seq, body)"})
	}
	for _, t := range all {
		*t.in, err = insert.Prepare(db, t.table)
		if err != nil {
			return fmt.Errorf("db: prepare insert into %s: %w", t.table, err)
		}
	}
	for _, stmt := range []struct {
		into  **sql.Stmt
		query string
	}{{&ins.upstream, upsertUpstream}, {&ins.checksum, logrow.UpdateChecksum}, {&ins.block, logrow.InsertBlock}} {
		*stmt.into, err = db.Prepare(stmt.query)
		if err != nil {
			return fmt.Errorf("db: prepare %s: %w", stmt.query, err)
		}
	}
	return nil
}

// add inserts names, log rows and their links. Some stay queued until a statement or a block is full, or finish is
// called; until then rs must not change.
func (ins *inserters) add(tx *sql.Tx, rs *apply.Rows) error {
	for _, n := range rs.Names {
		var err error
		switch n.Kind {
		case 'd':
			err = ins.actors.Put(tx, int64(n.ID), n.Name)
		case 'c':
			err = ins.collections.Put(tx, int64(n.ID), n.Name)
		default:
			err = ins.sources.Put(tx, int64(n.ID), int64(n.Collection), n.Name)
		}
		if err != nil {
			return err
		}
	}
	ins.log.Log = append(ins.log.Log, rs.Log...)
	ins.log.Links = append(ins.log.Links, rs.Links...)
	return ins.writeLog(tx, false)
}

// keepWaiting bounds the log rows and links whose memory the next commit reuses: a job or a narrower slice adds all
// rows of a commit at once, some 80,000 links.
const keepWaiting = 16 * logrow.BlockRows

// writeLog inserts the waiting log rows that fill blocks, or all of them.
func (ins *inserters) writeLog(tx *sql.Tx, all bool) error {
	stmt := tx.Stmt(ins.block)
	rest, err := ins.blocks.Write(ins.log, all, func(args ...any) error {
		_, err := stmt.Exec(args...)
		return err
	})
	if all && cap(ins.log.Log)+cap(ins.log.Links) > keepWaiting {
		ins.log = logrow.Rows{}
		return err
	}
	written := ins.log
	ins.log = logrow.Rows{Log: append(ins.log.Log[:0], rest.Log...), Links: append(ins.log.Links[:0], rest.Links...)}
	clear(written.Log[len(ins.log.Log):]) // they hold the memory of events
	clear(written.Links[len(ins.log.Links):])
	return err
}

// finish inserts the waiting rows, and all other rows of a batch except its bodies.
func (ins *inserters) finish(tx *sql.Tx, rs *apply.Rows) error {
	for _, in := range []*insert.Inserter{ins.actors, ins.collections, ins.sources} {
		if err := in.Flush(tx); err != nil {
			return err
		}
	}
	if err := ins.writeLog(tx, true); err != nil {
		return err
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
