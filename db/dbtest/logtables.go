package dbtest

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// LogTables gives the only connection of a database its log as two temporary tables, records and links, with a row for
// each log row and each link. An older schema has such tables itself. A record key that is a TID is an integer, any
// other is text; null stands for 0, and for the rank that a TID gives.
func LogTables(base *sql.DB) error {
	older, err := hasLogTables(base)
	if older || err != nil {
		return err
	}
	var all logrow.Rows
	if err := logrow.Scan(context.Background(), base, 0, logrow.MaxSeq, func(rows logrow.Rows) error {
		all.Log = append(all.Log, rows.Log...)
		all.Links = append(all.Links, rows.Links...)
		return nil
	}); err != nil {
		return err
	}
	tx, err := base.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`
		CREATE TEMP TABLE records (seq INTEGER PRIMARY KEY, time_us, op, actor, collection, rkey, rev, status);
		CREATE TEMP TABLE links (seq, id INTEGER PRIMARY KEY, op, source, target, rank)`); err != nil {
		return err
	}
	for i := range all.Log {
		r := &all.Log[i]
		var rkey any
		if r.Rkey != nil {
			rkey = codec.RkeyString(r.Rkey)
			if codec.IsTID(r.Rkey) {
				rkey = int64(binary.BigEndian.Uint64(r.Rkey[1:]))
			}
		}
		if _, err := tx.Exec("INSERT INTO temp.records VALUES (?, ?, ?, ?, nullif(?, 0), ?, nullif(?, 0), nullif(?, 0))",
			int64(r.Seq), r.TimeUS, int64(r.Op), int64(r.Actor), int64(r.Collection), rkey, int64(r.Rev),
			int64(r.StatusColumn())); err != nil {
			return err
		}
	}
	for i := range all.Links {
		l := &all.Links[i]
		if _, err := tx.Exec("INSERT INTO temp.links VALUES (?, ?, ?, ?, ?, nullif(?, -1))", int64(l.ID>>logrow.LinkShift),
			int64(l.ID), int64(l.Op), int64(l.Source), l.Target, l.Rank); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func hasLogTables(base *sql.DB) (older bool, err error) {
	err = base.QueryRow("SELECT count(*) FROM main.sqlite_schema WHERE name = 'records'").Scan(&older)
	return older, err
}

// PackLogTables makes the log of the two tables of LogTables.
func PackLogTables(base *sql.DB) error {
	older, err := hasLogTables(base)
	if older || err != nil {
		return err
	}
	tx, err := base.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	all, err := readLogTables(tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec("DELETE FROM log"); err != nil {
		return err
	}
	var w logrow.BlockWriter
	for len(all.Log) > 0 {
		n := 1
		for n < len(all.Log) && all.Log[n].Seq == all.Log[n-1].Seq+1 {
			n++
		}
		last := all.Log[n-1].Seq
		links := 0
		for links < len(all.Links) && all.Links[links].ID>>logrow.LinkShift <= last {
			links++
		}
		if _, err := w.Write(logrow.Rows{Log: all.Log[:n], Links: all.Links[:links]}, true, func(args ...any) error {
			_, err := tx.Exec(logrow.InsertBlock, args...)
			return err
		}); err != nil {
			return err
		}
		all = logrow.Rows{Log: all.Log[n:], Links: all.Links[links:]}
	}
	if len(all.Links) > 0 {
		return errors.New("a link is of no log row")
	}
	return tx.Commit()
}

func readLogTables(tx *sql.Tx) (all logrow.Rows, err error) {
	rows, err := tx.Query(`SELECT seq, time_us, op, actor, ifnull(collection, 0), rkey, ifnull(rev, 0), ifnull(status, 0)
		FROM temp.records ORDER BY seq`)
	if err != nil {
		return all, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r logrow.Row
		var rkey any
		var rev int64
		if err := rows.Scan(logrow.Unsigned(&r.Seq), &r.TimeUS, logrow.Unsigned(&r.Op), logrow.Unsigned(&r.Actor),
			logrow.Unsigned(&r.Collection), &rkey, &rev, logrow.Unsigned(&r.Status)); err != nil {
			return all, err
		}
		r.Rev = uint64(rev)
		r.Rkey, err = codec.DecodeRkeyColumn(rkey)
		if err != nil {
			return all, err
		}
		all.Log = append(all.Log, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return all, err
	}
	links, err := tx.Query("SELECT id, op, source, target, ifnull(rank, -1) FROM temp.links ORDER BY id")
	if err != nil {
		return all, err
	}
	defer func() { _ = links.Close() }()
	for links.Next() {
		var l logrow.LinkRow
		if err := links.Scan(logrow.Unsigned(&l.ID), logrow.Unsigned(&l.Op), logrow.Unsigned(&l.Source), &l.Target,
			&l.Rank); err != nil {
			return all, err
		}
		all.Links = append(all.Links, l)
	}
	return all, links.Err()
}
