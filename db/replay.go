package db

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// rebuild returns the snapshot of v's segments and the log after them. The log suffices: each row says what it changed,
// or, for a row about an account, what follows from the rows before it. q must read one moment.
func (s *state) rebuild(ctx context.Context, q logrow.Queryer, v *index.Snapshot,
	full func(*index.Snapshot) (*index.Snapshot, error)) (*index.Snapshot, error) {
	next := *v
	if err := s.loadMeta(ctx, q, &next); err != nil {
		return nil, fmt.Errorf("read meta data: %w", err)
	}
	if err := s.loadNames(ctx, q, &next, allNames); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	status, err := s.loadStatus(ctx, q, next.Sealed)
	if err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	next.Sums.Status = status
	if err := logrow.VerifyStatus(ctx, q, status); err != nil {
		return nil, err
	}
	return s.replay(ctx, q, &next, full)
}

// replay replays the log after a snapshot's segments. The statuses are those as of the segments.
func (s *state) replay(ctx context.Context, q logrow.Queryer, v *index.Snapshot,
	full func(*index.Snapshot) (*index.Snapshot, error)) (*index.Snapshot, error) {
	if err := s.loadResyncs(ctx, q, v.Sealed); err != nil {
		return nil, fmt.Errorf("read resyncs: %w", err)
	}
	if err := s.loadJobs(ctx, q); err != nil {
		return nil, fmt.Errorf("read jobs: %w", err)
	}
	v, err := s.replayLog(ctx, q, v, logrow.MaxSeq, full)
	s.opened = nil
	return v, err
}

// replayLog replays the log after a snapshot, up to a row. full, when it isn't nil, gets snapshots that have grown, and
// may return one that takes less memory.
func (s *state) replayLog(ctx context.Context, q logrow.Queryer, v *index.Snapshot, to uint64,
	full func(*index.Snapshot) (*index.Snapshot, error)) (*index.Snapshot, error) {
	s.progress("replaying the log", v.Seq, s.logEnd)
	// One core reads the log while another applies it: half the time of a start after a crash.
	reading, both := errgroup.WithContext(ctx)
	read := make(chan []logrow.Logged, 4)
	next := v
	reading.Go(func() error {
		defer logPanic(s.config.Logger, "replay")
		defer close(read)
		return logrow.Read(both, q, v.Seq, to, func(rows []logrow.Logged) error {
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
	if to < logrow.MaxSeq {
		return next, nil
	}
	return next, logrow.Verify(ctx, q, v.Seq, v.Sums, next.Seq, next.Sums)
}

// replayRows replays log rows into a snapshot.
func (s *state) replayRows(v *index.Snapshot, read <-chan []logrow.Logged,
	full func(*index.Snapshot) (*index.Snapshot, error)) (*index.Snapshot, error) {
	f := newApplier(s, nil, v)
	n := 0
	sums := v.Sums
	for rows := range read {
		for i := range rows {
			l := &rows[i]
			if err := f.replayRow(&l.Row, l.Body, l.Removed, l.Added); err != nil {
				return nil, fmt.Errorf("log row %d: %w", l.Seq, err)
			}
			f.seq = l.Seq
			sums.Log += l.Sum
			n++
			if n < rowsPerRun && f.d.bytes < commitBytes {
				continue
			}
			s.progress("replaying the log", f.seq, s.logEnd)
			n = 0
			f.d.flush()
			f.d.base.Seq = f.seq
			f.d.base.Sums = sums
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
	next.Seq, next.Sums, next.Hiding, next.Jobs = f.seq, sums, s.hiding(), len(s.jobs)
	return next, nil
}

// rowsPerRun is the number of log rows in a run of the replay: large enough that compactions are rare, small enough
// that the maps stay small. A change of commitBytes ends a run as well: one row of a change of status may change
// stepBytes.
const rowsPerRun = 20_000

// replayRow applies a row of the log; body reports that the row's body is stored.
func (f *applier) replayRow(r *logrow.Row, body bool, removed, added []codec.RecordLink) error {
	f.nowUS = r.TimeUS
	switch r.Op {
	case OpAccount:
		if was := f.state.status.of(r.Actor); was != Status(r.Status>>4&7) {
			return fmt.Errorf("account %d had the status %d, and the row says %d", r.Actor, was, r.Status>>4&7)
		}
		f.setStatus(r.Actor, r.Status)
		return nil
	case logrow.OpJob:
		return f.replayJob(r)
	case logrow.OpTurn:
		return f.replayTurn(r)
	case OpSync:
		f.d.setRev(r.Actor, max(r.Rev, f.d.rev(r.Actor)))
		f.state.resyncs[r.Actor] = newResync(r.Rev, r.Seq, r.TimeUS, f.state.resyncs[r.Actor])
		if o, ok := f.state.opened[r.Actor]; ok && o.Since == r.Seq {
			f.state.resyncs[r.Actor].host = o.Host
			f.state.resyncs[r.Actor].synced = o.Sync
		}
		return nil
	case logrow.OpBegun:
		if p := f.state.resyncs[r.Actor]; p != nil {
			p.begun = true
		}
		return nil
	case logrow.OpSynced:
		f.d.setRev(r.Actor, max(r.Rev, f.d.rev(r.Actor)))
		delete(f.state.resyncs, r.Actor)
		return nil
	case OpCreate, OpUpdate, OpDelete, logrow.OpSeen, logrow.OpRewritten:
	default:
		return fmt.Errorf("unknown op %d", r.Op)
	}
	if r.Rkey == nil || r.Collection == 0 {
		return codec.ErrMalformed
	}
	key := codec.RecordKey(nil, r.Actor, r.Collection, r.Rkey)
	if p := f.state.resyncs[r.Actor]; p != nil && r.Op != logrow.OpRewritten {
		p.replayed(r.Op, r.Rev, r.TimeUS, key)
	}
	rev := r.Rev
	if r.Status == logrow.StatusOutOfOrder || r.Op == logrow.OpRewritten || f.state.resyncs[r.Actor].isRevOf(r.Rev) {
		rev = max(rev, f.d.rev(r.Actor))
	}
	if r.Op == logrow.OpSeen {
		return nil
	}
	before := f.d.record(key)
	old, err := codec.DecodeLinks(nil, before, r.Rkey)
	if err != nil {
		return err
	}
	next := make([]codec.RecordLink, 0, len(old)+len(added))
	lost, _ := codec.DiffLinks(old, removed) // what is not removed stays
	next = codec.SortLinks(append(append(next, lost...), added...))
	if len(next) != len(old)-len(removed)+len(added) {
		return fmt.Errorf("%s has %d links, of which %d go and to which %d come, and that leaves %d",
			link.AppendTID(nil, r.Rev), len(old), len(removed), len(added), len(next))
	}
	f.d.setRev(r.Actor, rev)
	ref := uint64(0)
	if body && len(next) > 0 {
		ref = r.Seq
	}
	if r.Op == logrow.OpRewritten && len(next) > 0 {
		ref = codec.BodyRef(before) // the record's content stays
	}
	f.change(key, before, next, ref, r.Actor, r.Rkey, removed, added)
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
