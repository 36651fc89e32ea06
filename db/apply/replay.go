package apply

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// Bound gets snapshots of a replay that have grown, and may return one that takes less memory. Nil: memory holds all.
type Bound func(*index.Snapshot) (*index.Snapshot, error)

// Rebuild returns the snapshot of v's segments and the log after them. The log suffices: each row says what it changed,
// or, for a row about an account, what follows from the rows before it. q must read one moment.
func (s *State) Rebuild(ctx context.Context, q logrow.Queryer, v *index.Snapshot, full Bound) (*index.Snapshot, error) {
	s.reset()
	next := *v
	if err := s.loadMeta(ctx, q, &next); err != nil {
		return nil, fmt.Errorf("read meta data: %w", err)
	}
	if err := s.LoadNames(ctx, q, &next); err != nil {
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
	return s.replayOpened(ctx, q, &next, full)
}

// Rebase returns the snapshot of v's segments and the log after them, like Rebuild, where the state is that of log row
// seq: the statuses need not be read again.
func (s *State) Rebase(ctx context.Context, q logrow.Queryer, v *index.Snapshot, seq uint64,
	full Bound) (*index.Snapshot, error) {
	clear(s.resyncs)
	clear(s.jobs)
	clear(s.next)
	next := *v
	if err := s.loadMeta(ctx, q, &next); err != nil {
		return nil, fmt.Errorf("read meta data: %w", err)
	}
	if err := s.LoadNames(ctx, q, &next); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	if err := s.takeBackStatus(ctx, q, next.Sealed, seq); err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	return s.replayOpened(ctx, q, &next, full)
}

// CatchUp returns a snapshot with the new log rows. The state is that of the snapshot.
func (s *State) CatchUp(ctx context.Context, q logrow.Queryer, v *index.Snapshot) (*index.Snapshot, error) {
	next := *v
	if err := s.loadMeta(ctx, q, &next); err != nil {
		return nil, fmt.Errorf("read meta data: %w", err)
	}
	if err := s.loadNewNames(ctx, q, &next, allNames); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return s.replayLog(ctx, q, &next, logrow.MaxSeq, nil)
}

// Replay replays the log after a snapshot's segments, whose names LoadNames has read.
func (s *State) Replay(ctx context.Context, q logrow.Queryer, v *index.Snapshot) (*index.Snapshot, error) {
	if _, err := s.loadStatus(ctx, q, v.Sealed); err != nil {
		return nil, fmt.Errorf("read statuses: %w", err)
	}
	return s.replayOpened(ctx, q, v, nil)
}

// replayOpened replays the log after a snapshot's segments. The statuses are those as of the segments.
func (s *State) replayOpened(ctx context.Context, q logrow.Queryer, v *index.Snapshot,
	full Bound) (*index.Snapshot, error) {
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

// replayLog replays the log after a snapshot, up to a row.
func (s *State) replayLog(ctx context.Context, q logrow.Queryer, v *index.Snapshot, to uint64,
	full Bound) (*index.Snapshot, error) {
	if s.config.Progress != nil {
		if err := q.GetContext(ctx, &s.logEnd, "SELECT ifnull(max(last), 0) FROM log"); err != nil {
			return nil, fmt.Errorf("read the end of the log: %w", err)
		}
	}
	v, err := s.withHorizons(ctx, q, v)
	if err != nil {
		return nil, err
	}
	s.progress(v.Seq)
	// One core reads the log while another applies it: half the time of a start after a crash.
	reading, both := errgroup.WithContext(ctx)
	read := make(chan []logrow.Logged, 4)
	next := v
	reading.Go(func() error {
		defer recoverPanic(s.config.Logger, "replay")
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
		defer recoverPanic(s.config.Logger, "replay")
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
func (s *State) replayRows(v *index.Snapshot, read <-chan []logrow.Logged, full Bound) (*index.Snapshot, error) {
	f := New(s, nil, v, Origin{})
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
			if n < rowsPerRun && f.d.bytes < CommitBytes {
				continue
			}
			s.progress(f.seq)
			n = 0
			f.d.pushRuns()
			f.d.base.Seq = f.seq
			f.d.base.Sums = sums
			if full == nil || f.d.err != nil {
				continue
			}
			base, err := full(f.d.base)
			if err != nil {
				return nil, err
			}
			f.d.base = base
		}
	}
	f.d.pushRuns()
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
func (f *Applier) replayRow(r *logrow.Row, body bool, removed, added []codec.RecordLink) error {
	f.nowUS = r.TimeUS
	switch r.Op {
	case logrow.OpAccount:
		if was := f.state.status.of(r.Actor); was != logrow.Status(r.Status>>4&7) {
			return fmt.Errorf("account %d had the status %d, and the row says %d", r.Actor, was, r.Status>>4&7)
		}
		j := f.setStatus(r.Actor, r.Status)
		if j != nil {
			f.eachRecord(r.Actor, func(key, value []byte) { f.doJob(j, r.Actor, key, value) })
		}
		return nil
	case logrow.OpJob:
		return f.replayJob(r)
	case logrow.OpTurn:
		return f.replayTurn(r)
	case logrow.OpSync:
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
	case logrow.OpCreate, logrow.OpUpdate, logrow.OpDelete, logrow.OpSeen, logrow.OpRewritten:
		return f.replayRecord(r, body, removed, added)
	}
	return fmt.Errorf("unknown op %d", r.Op)
}

// replayRecord applies a log row of a record.
func (f *Applier) replayRecord(r *logrow.Row, body bool, removed, added []codec.RecordLink) error {
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
	removed, added = f.inHorizon(removed), f.inHorizon(added)
	before := f.d.record(key, recordHint(r.Op))
	old, err := codec.DecodeLinks(nil, before, r.Rkey)
	if err != nil {
		return err
	}
	next := make([]codec.RecordLink, 0, len(old)+len(added))
	lost, _ := codec.DiffLinks(nil, nil, old, removed) // what is not removed stays
	next = codec.SortLinks(append(append(next, lost...), added...))
	if len(next) != len(old)-len(removed)+len(added) {
		return fmt.Errorf("%s has %d links, of which %d go and to which %d come, and that leaves %d",
			link.AppendTID(nil, r.Rev), len(old), len(removed), len(added), len(next))
	}
	f.d.setRev(r.Actor, rev)
	ref := uint64(0)
	switch {
	case body && len(next) > 0:
		ref = r.Seq
	case body:
		f.state.outBodies = append(f.state.outBodies, r.Seq)
	}
	if r.Op == logrow.OpRewritten && len(next) > 0 {
		ref = codec.BodyRef(before) // the record's content stays
	}
	f.change(key, before, next, ref, r.Actor, r.Rkey, removed, added)
	return nil
}

// replayed notes a log row of a record whose account's repo is being replaced.
func (r *resync) replayed(op logrow.Op, rev uint64, timeUS int64, key []byte) {
	switch {
	case rev > r.rev: // of another upstream: one of this would have ended the resync
		r.markSuperseded(string(key), rev)
	case rev == r.rev && op != logrow.OpDelete:
		r.seen[string(key)] = struct{}{}
		r.lastUS = max(r.lastUS, timeUS)
	}
}
