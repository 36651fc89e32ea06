package db

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/link"
)

// rebuild returns the snapshot of v's segments and the log after them. The log suffices: each row says what it changed,
// or, for a row about an account, what follows from the rows before it. q must read one moment.
func (s *state) rebuild(ctx context.Context, q queryer, v *Snapshot, full func(*Snapshot) (*Snapshot,
	error)) (*Snapshot, error) {
	next := *v
	if err := s.loadMeta(ctx, q, &next); err != nil {
		return nil, fmt.Errorf("read meta data: %w", err)
	}
	if err := s.loadNames(ctx, q, &next, allNames); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	status, err := s.loadStatus(ctx, q, next.sealed)
	if err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	next.sums.status = status
	if err := verifyStatus(ctx, q, status); err != nil {
		return nil, err
	}
	return s.replay(ctx, q, &next, full)
}

// replay replays the log after a snapshot's segments. The statuses are those as of the segments.
func (s *state) replay(ctx context.Context, q queryer, v *Snapshot, full func(*Snapshot) (*Snapshot, error)) (*Snapshot,
	error) {
	if err := s.loadResyncs(ctx, q, v.sealed); err != nil {
		return nil, fmt.Errorf("read resyncs: %w", err)
	}
	if err := s.loadJobs(ctx, q); err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	v, err := s.replayLog(ctx, q, v, wholeLog, full)
	s.opened = nil
	return v, err
}

// replayLog replays the log after a snapshot, up to a row. full, when it isn't nil, gets snapshots that have grown, and
// may return one that takes less memory.
func (s *state) replayLog(ctx context.Context, q queryer, v *Snapshot, to uint64, full func(*Snapshot) (*Snapshot,
	error)) (*Snapshot, error) {
	s.progress("replaying the log", v.seq, s.logEnd)
	// One core reads the log while another applies it: half the time of a start after a crash.
	reading, both := errgroup.WithContext(ctx)
	read := make(chan []logged, 4)
	next := v
	reading.Go(func() error {
		defer logPanic(s.config.Logger, "replay")
		defer close(read)
		return readLog(both, q, v.seq, to, func(rows []logged) error {
			select {
			case read <- rows:
				return nil
			case <-both.Done():
				return both.Err()
			}
		})
	})
	reading.Go(func() error {
		defer logPanic(s.config.Logger, "replay")
		replayed, err := s.replayRows(v, read, full)
		next = replayed
		return err
	})
	if err := reading.Wait(); err != nil {
		return nil, fmt.Errorf("replay the log: %w", err)
	}
	if to < wholeLog {
		return next, nil
	}
	return next, verifyChecksums(ctx, q, v, next)
}

// replayRows replays log rows into a snapshot.
func (s *state) replayRows(v *Snapshot, read <-chan []logged, full func(*Snapshot) (*Snapshot, error)) (*Snapshot,
	error) {
	f := newApplier(s, nil, v)
	n := 0
	sums := v.sums
	for rows := range read {
		for i := range rows {
			l := &rows[i]
			if err := f.replayRow(&l.row, l.body, l.removed, l.added); err != nil {
				return nil, fmt.Errorf("log row %d: %w", l.seq, err)
			}
			f.seq = l.seq
			sums.log += l.sum
			n++
			if n < rowsPerRun && f.d.bytes < commitBytes {
				continue
			}
			s.progress("replaying the log", f.seq, s.logEnd)
			n = 0
			f.d.flush()
			f.d.base.seq = f.seq
			f.d.base.sums = sums
			if full == nil || f.d.err != nil {
				continue
			}
			base, err := full(f.d.base)
			if err != nil {
				return nil, err
			}
			f.d = newDelta(base)
		}
	}
	f.d.flush()
	if f.d.err != nil {
		return nil, f.d.err
	}
	next := f.d.base
	next.seq, next.sums, next.hiding, next.jobs = f.seq, sums, s.hiding(), len(s.jobs)
	return next, nil
}

// rowsPerRun is the number of log rows in a run of the replay: large enough that compactions are rare, small enough
// that the maps stay small. A change of commitBytes ends a run as well: one row of a change of status may change
// stepBytes.
const rowsPerRun = 20_000

// replayRow applies a row of the log; body reports that the row's body is stored.
func (f *applier) replayRow(r *row, body bool, removed, added []codec.RecordLink) error {
	f.nowUS = r.timeUS
	switch r.op {
	case OpAccount:
		if was := f.state.status.of(r.actor); was != Status(r.status>>4&7) {
			return fmt.Errorf("account %d had the status %d, and the row says %d", r.actor, was, r.status>>4&7)
		}
		f.setStatus(r.actor, r.status)
		return nil
	case opJob:
		return f.replayJob(r)
	case opTurn:
		return f.replayTurn(r)
	case OpSync:
		f.d.setRev(r.actor, max(r.rev, f.d.rev(r.actor)))
		f.state.resyncs[r.actor] = newResync(r.rev, r.seq, r.timeUS, f.state.resyncs[r.actor])
		if o, ok := f.state.opened[r.actor]; ok && o.Since == r.seq {
			f.state.resyncs[r.actor].host = o.Host
			f.state.resyncs[r.actor].synced = o.Sync
		}
		return nil
	case opBegun:
		if p := f.state.resyncs[r.actor]; p != nil {
			p.begun = true
		}
		return nil
	case opSynced:
		f.d.setRev(r.actor, max(r.rev, f.d.rev(r.actor)))
		delete(f.state.resyncs, r.actor)
		return nil
	case OpCreate, OpUpdate, OpDelete, opSeen, opRespelled:
	default:
		return fmt.Errorf("unknown op %d", r.op)
	}
	if r.rkey == nil || r.collection == 0 {
		return codec.ErrMalformed
	}
	key := codec.RecordKey(nil, r.actor, r.collection, r.rkey)
	if p := f.state.resyncs[r.actor]; p != nil && r.op != opRespelled {
		p.replayed(r.op, r.rev, r.timeUS, key)
	}
	rev := r.rev
	if r.status == statusOutOfOrder || r.op == opRespelled || f.state.resyncs[r.actor].isRevOf(r.rev) {
		rev = max(rev, f.d.rev(r.actor))
	}
	if r.op == opSeen {
		return nil
	}
	before := f.d.record(key)
	old, err := codec.DecodeLinks(nil, before, r.rkey)
	if err != nil {
		return err
	}
	next := make([]codec.RecordLink, 0, len(old)+len(added))
	lost, _ := codec.DiffLinks(old, removed) // what is not removed stays
	next = codec.SortLinks(append(append(next, lost...), added...))
	if len(next) != len(old)-len(removed)+len(added) {
		return fmt.Errorf("%s has %d links, of which %d go and to which %d come, and that leaves %d",
			link.AppendTID(nil, r.rev), len(old), len(removed), len(added), len(next))
	}
	f.d.setRev(r.actor, rev)
	ref := uint64(0)
	if body && len(next) > 0 {
		ref = r.seq
	}
	if r.op == opRespelled && len(next) > 0 {
		ref = codec.BodyRef(before) // the record's content stays
	}
	f.change(key, before, next, ref, r.actor, r.rkey, removed, added)
	return nil
}

// replayed notes a log row of a record whose account's repo is being replaced.
func (r *resync) replayed(op Op, rev uint64, timeUS int64, key []byte) {
	switch {
	case rev > r.rev: // of another upstream: one of this would have ended the resync
		r.markSuperseded(string(key), rev)
	case rev == r.rev && op != OpDelete:
		r.seen[string(key)] = struct{}{}
		r.lastUS = max(r.lastUS, timeUS)
	}
}
