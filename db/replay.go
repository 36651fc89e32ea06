package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/link"
)

// rebuild makes the version that the segments of v and the log behind them come to. The log is all that has to be kept:
// every row says what it changed, or, for a row about an account, what follows from the rows before it. All that it reads
// has to be of one moment.
func (s *state) rebuild(ctx context.Context, q queryer, v *Snapshot, full func(*Snapshot) (*Snapshot, error)) (*Snapshot, error) {
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

// replay folds the log behind the segments of a version into it. The statuses are those as of the segments.
func (s *state) replay(ctx context.Context, q queryer, v *Snapshot, full func(*Snapshot) (*Snapshot, error)) (*Snapshot, error) {
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

// replayLog folds the log behind a version into it, up to a row. full, when it isn't nil, is given versions that have grown, and
// may give back one that takes less memory.
func (s *state) replayLog(ctx context.Context, q queryer, v *Snapshot, to uint64, full func(*Snapshot) (*Snapshot, error)) (*Snapshot, error) {
	s.progress("replaying the log", v.seq, s.logEnd)
	// A core reads the log while another folds it: it is half the time of a start after a crash.
	reading, both := errgroup.WithContext(ctx)
	read, next := make(chan []logged, 4), v
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
		folded, err := s.replayRows(v, read, full)
		next = folded
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

// replayRows folds rows of the log into a version.
func (s *state) replayRows(v *Snapshot, read <-chan []logged, full func(*Snapshot) (*Snapshot, error)) (*Snapshot, error) {
	f := newApplier(s, nil, v)
	n, sums := 0, v.sums
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
			f.d.base.seq, f.d.base.sums = f.seq, sums
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
	if f.d.flush(); f.d.err != nil {
		return nil, f.d.err
	}
	next := f.d.base
	next.seq, next.sums, next.hiding, next.jobs = f.seq, sums, s.hiding(), len(s.jobs)
	return next, nil
}

// rowsPerRun is how many log rows make a run while the log is replayed: enough that merging is rare, few enough that
// their maps stay small. What changes commitBytes makes a run as well: one row of a change of status may change stepBytes.
const rowsPerRun = 20_000

// replayRow applies a row of the log; body says that the row's body is there.
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
			f.state.resyncs[r.actor].host, f.state.resyncs[r.actor].synced = o.Host, o.Sync
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

// loadJobs reads the jobs that were under way when the newest segment was sealed.
func (s *state) loadJobs(ctx context.Context, q queryer) error {
	var rows []struct {
		Actor   uint64
		Was, Is bool
		Purge   uint8
		After   []byte
	}
	if err := q.SelectContext(ctx, &rows, "SELECT actor, was, now AS \"is\", purge, after FROM sealed_jobs"); err != nil {
		return err
	}
	for _, r := range rows {
		s.jobs[r.Actor] = &job{was: r.Was, is: r.Is, purge: r.Purge&sealedPurge != 0, down: r.Purge&sealedDown != 0,
			thenPurge: r.Purge&sealedThenPurge != 0, after: r.After}
	}
	return nil
}

// loadStatus finds the statuses as of a log row: those of now, with the changes since taken back. It gives the checksum of
// those of now.
func (s *state) loadStatus(ctx context.Context, q queryer, sealed uint64) (sum uint64, err error) {
	// By status and account, as the partial index has them.
	rows, err := q.QueryContext(ctx, "SELECT id, status, ifnull(since_us, 0) FROM actors WHERE status <> 0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p statusRow
		if err := rows.Scan(&p.actor, &p.status, &p.sinceUS); err != nil {
			return 0, err
		}
		s.status.set(p.actor, p.status)
		sum += p.checksum()
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	s.status.pack()
	return sum, s.takeBackStatus(ctx, q, sealed, math.MaxInt64)
}

type actorStatus struct {
	Actor  uint64
	Status uint8
}

// takeBackStatus takes the changes of statuses back that log rows behind one and up to another made.
func (s *state) takeBackStatus(ctx context.Context, q queryer, behind, upTo uint64) error {
	var since []actorStatus
	if err := q.SelectContext(ctx, &since, "SELECT actor, status FROM records WHERE seq > ? AND seq <= ? AND op = ? ORDER BY seq DESC",
		int64(behind), int64(upTo), int64(OpAccount)); err != nil {
		return err
	}
	for _, p := range since {
		s.status.set(p.Actor, Status(p.Status>>4&7))
	}
	return nil
}

// loadResyncs opens the resyncs again that were open at a log row, with what was seen up to it.
func (s *state) loadResyncs(ctx context.Context, q queryer, sealed uint64) error {
	var open []openResync
	if err := q.SelectContext(ctx, &open, "SELECT actor, rev, since_seq, host, sync_seq FROM resyncs"); err != nil {
		return err
	}
	s.opened = map[uint64]openResync{}
	for _, o := range open {
		s.opened[o.Actor] = o
		if o.Since > sealed {
			continue // the replay opens it
		}
		r := &resync{rev: uint64(o.Rev), host: o.Host, synced: o.Sync, seen: map[string]struct{}{}, since: o.Since}
		s.resyncs[o.Actor] = r
		var rows []struct {
			TimeUS     int64 `db:"time_us"`
			Op         Op
			Rev        int64
			Collection uint64
			Rkey       any
		}
		if err := q.SelectContext(ctx, &rows, `SELECT time_us, op, ifnull(rev, 0) AS rev, ifnull(collection, 0) AS collection, rkey
			FROM records WHERE seq BETWEEN ? AND ? AND actor = ? AND op NOT IN (?, ?, ?, ?) ORDER BY seq`,
			int64(o.Since), int64(sealed), int64(o.Actor), int64(OpAccount), int64(opJob), int64(opRespelled), int64(opTurn)); err != nil {
			return err
		}
		for _, row := range rows {
			if r.begun = r.begun || row.Op == opBegun; row.Op == OpSync || row.Op == opBegun {
				r.lastUS = row.TimeUS
				continue
			}
			rkey, err := codec.DecodeRkeyColumn(row.Rkey)
			if err != nil || rkey == nil {
				return fmt.Errorf("a row of the resync since log row %d: %w", o.Since, cmp.Or(err, codec.ErrMalformed))
			}
			r.replayed(row.Op, uint64(row.Rev), row.TimeUS, codec.RecordKey(nil, o.Actor, row.Collection, rkey))
		}
	}
	return nil
}

// openResync is a resync that was open when the store was closed.
type openResync struct {
	Actor uint64
	Rev   int64
	Since uint64 `db:"since_seq"`
	Host  string
	Sync  uint64 `db:"sync_seq"`
}

// replayed notes what a log row says of a record whose account's repo was being replaced.
func (r *resync) replayed(op Op, rev uint64, timeUS int64, key []byte) {
	switch {
	case rev > r.rev: // of another upstream: one of this would have ended the resync
		r.markSuperseded(string(key), rev)
	case rev == r.rev && op != OpDelete:
		r.seen[string(key)] = struct{}{}
		r.lastUS = max(r.lastUS, timeUS)
	}
}
