package db

import (
	"context"
	"fmt"

	"weft.dev/weft/link"
)

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
	if f.d.flush(); f.d.err != nil {
		return f.d.err
	}
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
