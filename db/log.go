package db

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"strings"

	"weft.dev/weft/link"
)

// Further ops of log rows, beside those of events.
const (
	opSeen   Op = 6 // a record that followed a sync unchanged
	opSynced Op = 7 // the end of a resync: what was not seen is gone
)

// linkShift makes a link row's id of its log row's seq and its number there. 12 bits hold the links that one row can
// carry: at most maxLinks removed and as many added.
const (
	linkShift = 12
	maxLinks  = 1<<(linkShift-1) - 1
)

// row is a row of the log.
type row struct {
	seq        uint64
	timeUS     int64
	op         Op
	actor      uint64
	collection uint64 // 0: none
	rkey       []byte // encoded; nil: none
	rev        uint64 // 0: none
	status     uint8
}

// linkRow is a link that a log row added or removed.
type linkRow struct {
	id     uint64
	op     byte
	source uint64
	target []byte
	rank   int64 // -1: the TID's
}

type nameRow struct {
	kind       byte
	id         uint64
	collection uint64
	name       string
}

type statusRow struct {
	actor   uint64
	status  Status
	sinceUS int64
}

// rows is what one transaction writes.
type rows struct {
	names  []nameRow
	log    []row
	links  []linkRow
	status []statusRow
}

func (rs *rows) add(r row, removed, added []recordLink) {
	rs.log = append(rs.log, r)
	id := r.seq << linkShift
	put := func(links []recordLink, op byte) {
		for _, l := range links {
			rank := int64(l.rank)
			if l.derived {
				rank = -1
			}
			rs.links = append(rs.links, linkRow{id, op, l.source, l.target, rank})
			id++
		}
	}
	put(removed, unlinked)
	put(added, linked)
}

// inserter inserts rows of one table, many to a statement: a statement costs more than the row that it carries.
type inserter struct {
	one, many *sql.Stmt
	columns   int
	args      []any
}

// insertRows is the rows of a long statement: beyond it, the saving per row is lost in noise.
const insertRows = 64

func prepareInsert(db *sql.DB, table string, columns int) (*inserter, error) {
	values := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	head := "INSERT INTO " + table + " VALUES "
	one, err := db.Prepare(head + values)
	if err != nil {
		return nil, err
	}
	many, err := db.Prepare(head + strings.TrimSuffix(strings.Repeat(values+",", insertRows), ","))
	if err != nil {
		return nil, err
	}
	return &inserter{one: one, many: many, columns: columns}, nil
}

// put queues a row and inserts when a long statement is full.
func (in *inserter) put(tx *sql.Tx, values ...any) error {
	in.args = append(in.args, values...)
	if len(in.args) < in.columns*insertRows {
		return nil
	}
	_, err := tx.Stmt(in.many).Exec(in.args...)
	in.args = in.args[:0]
	return err
}

// flush inserts what is queued.
func (in *inserter) flush(tx *sql.Tx) error {
	stmt := tx.Stmt(in.one)
	defer func() { in.args = in.args[:0] }()
	for args := in.args; len(args) > 0; args = args[in.columns:] {
		if _, err := stmt.Exec(args[:in.columns]...); err != nil {
			return err
		}
	}
	return nil
}

// inserters are the statements of the writer.
type inserters struct {
	actors, collections, sources, log, links *inserter
}

func (ins *inserters) prepare(db *sql.DB) (err error) {
	for _, t := range []struct {
		in      **inserter
		table   string
		columns int
	}{
		{&ins.actors, "actors (id, did)", 2},
		{&ins.collections, "collections (id, nsid)", 2},
		{&ins.sources, "sources (id, collection, path)", 3},
		{&ins.log, "records (seq, time_us, op, actor, collection, rkey, rev, status)", 8},
		{&ins.links, "links (id, op, source, target, rank)", 5},
	} {
		if *t.in, err = prepareInsert(db, t.table, t.columns); err != nil {
			return fmt.Errorf("db: prepare insert into %s: %w", t.table, err)
		}
	}
	return nil
}

// write inserts a batch's rows.
func (ins *inserters) write(tx *sql.Tx, rs *rows) error {
	for _, n := range rs.names {
		var err error
		switch n.kind {
		case 'd':
			err = ins.actors.put(tx, int64(n.id), n.name)
		case 'c':
			err = ins.collections.put(tx, int64(n.id), n.name)
		default:
			err = ins.sources.put(tx, int64(n.id), int64(n.collection), n.name)
		}
		if err != nil {
			return err
		}
	}
	for i := range rs.log {
		r := &rs.log[i]
		if err := ins.log.put(tx, int64(r.seq), r.timeUS, int64(r.op), int64(r.actor), orNull(int64(r.collection), 0),
			rkeyColumn(r.rkey), orNull(int64(r.rev), 0), orNull(int64(r.status), 0)); err != nil {
			return err
		}
	}
	for i := range rs.links {
		l := &rs.links[i]
		if err := ins.links.put(tx, int64(l.id), int64(l.op), int64(l.source), l.target, orNull(l.rank, -1)); err != nil {
			return err
		}
	}
	for _, in := range []*inserter{ins.actors, ins.collections, ins.sources, ins.log, ins.links} {
		if err := in.flush(tx); err != nil {
			return err
		}
	}
	for _, st := range rs.status {
		if _, err := tx.Exec("UPDATE actors SET status = ?, since_us = ? WHERE id = ?",
			int64(st.status), st.sinceUS, int64(st.actor)); err != nil {
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

// rkeyColumn stores a TID as an integer, which takes 8 bytes, and any other record key as text.
func rkeyColumn(raw []byte) any {
	switch {
	case raw == nil:
		return nil
	case raw[0] == rkeyTID:
		return int64(binary.BigEndian.Uint64(raw[1:]))
	}
	return rkeyString(raw)
}

// rkeyOfColumn encodes what rkeyColumn stored.
func rkeyOfColumn(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int64:
		return binary.BigEndian.AppendUint64([]byte{rkeyTID}, uint64(v)), nil
	case string:
		return appendRkey(nil, v), nil
	}
	return nil, fmt.Errorf("rkey of type %T", v)
}

// replay rebuilds the index from the log. The log is all that has to be kept: every row says what it changed, or, for a
// row about an account, what follows from the rows before it.
func (s *Store) replay(ctx context.Context) error {
	logRows, err := s.reader.QueryContext(ctx,
		"SELECT seq, time_us, op, actor, ifnull(collection, 0), rkey, ifnull(rev, 0), ifnull(status, 0) FROM records ORDER BY seq")
	if err != nil {
		return err
	}
	defer logRows.Close()
	linkRows, err := s.reader.QueryContext(ctx, "SELECT id, op, source, target, ifnull(rank, -1) FROM links ORDER BY id")
	if err != nil {
		return err
	}
	defer linkRows.Close()

	f := &fold{s: s, d: newDelta(s.version.Load())}
	var l linkRow
	more := linkRows.Next()
	scanLink := func() error { return linkRows.Scan(&l.id, &l.op, &l.source, &l.target, &l.rank) }
	if more {
		if err := scanLink(); err != nil {
			return err
		}
	}
	var removed, added []recordLink
	for n := 1; logRows.Next(); n++ {
		var r row
		var rkey any
		var rev int64 // a TID may use the sign bit
		if err := logRows.Scan(&r.seq, &r.timeUS, &r.op, &r.actor, &r.collection, &rkey, &rev, &r.status); err != nil {
			return err
		}
		r.rev = uint64(rev)
		if r.rkey, err = rkeyOfColumn(rkey); err != nil {
			return fmt.Errorf("log row %d: %w", r.seq, err)
		}
		removed, added = removed[:0], added[:0]
		for more && l.id>>linkShift == r.seq {
			rl := recordLink{source: l.source, target: append([]byte(nil), l.target...), rank: uint64(l.rank)}
			if l.rank < 0 {
				rl.rank, rl.derived = tidRank(r.rkey)
			}
			if l.op == linked {
				added = append(added, rl)
			} else {
				removed = append(removed, rl)
			}
			if more = linkRows.Next(); more {
				if err := scanLink(); err != nil {
					return err
				}
			}
		}
		if err := f.replay(&r, removed, added); err != nil {
			return fmt.Errorf("log row %d: %w", r.seq, err)
		}
		f.seq = r.seq
		if n%replayRows == 0 {
			f.d.flush()
		}
	}
	if err := logRows.Err(); err != nil {
		return err
	}
	if err := linkRows.Err(); err != nil {
		return err
	}
	if more {
		return fmt.Errorf("link row %d belongs to no log row", l.id)
	}
	f.d.flush()
	f.d.base.seq = f.seq
	s.version.Store(f.d.base)
	return nil
}

// replayRows is how many log rows make a run while the log is replayed: enough that merging is rare, few enough that
// their maps stay small.
const replayRows = 20_000

// replay applies a row of the log.
func (f *fold) replay(r *row, removed, added []recordLink) error {
	f.nowUS = r.timeUS
	switch r.op {
	case OpAccount:
		f.setStatus(r.actor, Status(r.status>>4), Status(r.status&15))
		return nil
	case OpSync:
		f.d.setRev(r.actor, r.rev)
		f.s.resyncs[r.actor] = &resync{rev: r.rev, seen: map[string]struct{}{}, lastUS: r.timeUS}
		return nil
	case opSynced:
		f.d.setRev(r.actor, r.rev)
		delete(f.s.resyncs, r.actor)
		return nil
	case OpCreate, OpUpdate, OpDelete, opSeen:
	default:
		return fmt.Errorf("unknown op %d", r.op)
	}
	if r.rkey == nil || r.collection == 0 {
		return errKey
	}
	key := recordKey(nil, r.actor, r.collection, r.rkey)
	if p := f.s.resyncs[r.actor]; p != nil && p.rev == r.rev && r.op != OpDelete {
		p.seen[string(key)] = struct{}{}
		p.lastUS = r.timeUS
	}
	if r.op == opSeen {
		return nil
	}
	before := f.d.record(key)
	old, err := cutLinks(nil, before, r.rkey)
	if err != nil {
		return err
	}
	next := make([]recordLink, 0, len(old)+len(added))
	lost, _ := diff(old, removed) // what is not removed stays
	next = sortLinks(append(append(next, lost...), added...))
	if len(next) != len(old)-len(removed)+len(added) {
		return fmt.Errorf("%s has %d links, of which %d go and to which %d come, and that leaves %d",
			link.AppendTID(nil, r.rev), len(old), len(removed), len(added), len(next))
	}
	f.d.setRev(r.actor, r.rev)
	f.change(key, before, next, r.actor, r.rkey, removed, added)
	return nil
}
