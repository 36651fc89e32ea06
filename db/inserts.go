package db

import (
	"database/sql"
	"fmt"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/insert"
	"weft.dev/weft/db/logrow"
)

// inserters are the statements of the writer.
type inserters struct {
	actors, collections, sources, log, links *insert.Inserter

	blocks, bodies, replaced *insert.Inserter // nil: nothing is kept

	upstream, checksum *sql.Stmt // upsertUpstream, logrow.UpdateChecksum
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
		{&ins.log, logrow.Table},
		{&ins.links, logrow.LinkTable},
	}
	if bodies {
		all = append(all, insertTable{&ins.blocks, "blocks (id, digest, body)"},
			insertTable{&ins.bodies, "bodies (seq, block)"},
			insertTable{&ins.replaced, "replaced (seq, body)"})
	}
	for _, t := range all {
		*t.in, err = insert.Prepare(db, t.table)
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
	return ins.addLog(tx, rs.Log, rs.Links)
}

// addLog inserts log rows and their links, which are in the order of the rows.
func (ins *inserters) addLog(tx *sql.Tx, log []logrow.Row, links []logrow.LinkRow) error {
	for i := range log {
		r := &log[i]
		var source, target any
		if len(links) > 0 && r.HasFirst(&links[0]) {
			source = int64(links[0].Source)
			target = links[0].Target
			links = links[1:]
		}
		if err := ins.log.Put(tx, int64(r.Seq), r.TimeUS, int64(r.Op), int64(r.Actor), orNull(int64(r.Collection), 0),
			codec.RkeyColumn(r.Rkey), orNull(int64(r.Rev), 0), orNull(int64(r.StatusColumn()), 0), source,
			target); err != nil {
			return err
		}
		for ; len(links) > 0 && links[0].ID>>logrow.LinkShift == r.Seq; links = links[1:] {
			l := &links[0]
			if err := ins.links.Put(tx, int64(l.ID), int64(l.Op), int64(l.Source), l.Target,
				orNull(l.Rank, -1)); err != nil {
				return err
			}
		}
	}
	if len(links) > 0 {
		return fmt.Errorf("link row %d belongs to no log row", links[0].ID)
	}
	return nil
}

// finish inserts the waiting rows, and all other rows of a batch except its bodies.
func (ins *inserters) finish(tx *sql.Tx, rs *apply.Rows) error {
	for _, in := range []*insert.Inserter{ins.actors, ins.collections, ins.sources, ins.log, ins.links} {
		if err := in.Flush(tx); err != nil {
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
