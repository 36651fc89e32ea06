package apply

import (
	"context"
	"errors"
	"fmt"
	"math"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// loadJobs reads the jobs as of the newest segment.
func (s *State) loadJobs(ctx context.Context, q logrow.Queryer) error {
	rows, err := q.QueryContext(ctx, "SELECT actor, was, now, purge, after FROM sealed_jobs")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var actor uint64
		var purge uint8
		j := &job{}
		err := rows.Scan(logrow.Unsigned(&actor), &j.was, &j.is, logrow.Unsigned(&purge), &j.after)
		if err != nil {
			return fmt.Errorf("the job of account %d: %w", actor, err)
		}
		j.purge = purge&sealedPurge != 0
		j.down = purge&sealedDown != 0
		j.thenPurge = purge&sealedThenPurge != 0
		s.jobs[actor] = j
	}
	return rows.Err()
}

// loadStatus reads the present statuses and takes back the changes after a log row. It returns the checksum of the
// present ones.
func (s *State) loadStatus(ctx context.Context, q logrow.Queryer, sealed uint64) (sum uint64, err error) {
	// By status and account, as the partial index has them.
	rows, err := q.QueryContext(ctx, "SELECT id, status, ifnull(since_us, 0) FROM actors WHERE status <> 0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p logrow.StatusRow
		if err := rows.Scan(logrow.Unsigned(&p.Actor), logrow.Unsigned(&p.Status), &p.SinceUS); err != nil {
			return 0, fmt.Errorf("the status of account %d: %w", p.Actor, err)
		}
		s.status.set(p.Actor, p.Status)
		sum += p.Checksum()
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	s.status.pack()
	return sum, s.takeBackStatus(ctx, q, sealed, math.MaxInt64)
}

// takeBackStatus takes back the changes of statuses by the log rows after one and up to another: each account has the
// status before its first change.
func (s *State) takeBackStatus(ctx context.Context, q logrow.Queryer, behind, upTo uint64) error {
	before := map[uint64]logrow.Status{}
	if err := logrow.Scan(ctx, q, behind, upTo, func(rows logrow.Rows) error {
		for i := range rows.Log {
			r := &rows.Log[i]
			if _, ok := before[r.Actor]; r.Op == logrow.OpAccount && !ok {
				before[r.Actor] = logrow.Status(r.Status >> 4 & 7)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for actor, status := range before {
		s.status.set(actor, status)
	}
	return nil
}

// loadResyncs opens the resyncs that were open at a log row, with the records seen up to it.
func (s *State) loadResyncs(ctx context.Context, q logrow.Queryer, sealed uint64) error {
	open, err := readOpenResyncs(ctx, q)
	if err != nil {
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
		err := r.loadSeen(ctx, q, o.Actor, sealed)
		if err != nil {
			return fmt.Errorf("a row of the resync since log row %d: %w", o.Since, err)
		}
	}
	return nil
}

func readOpenResyncs(ctx context.Context, q logrow.Queryer) (open []openResync, err error) {
	rows, err := q.QueryContext(ctx, "SELECT actor, rev, since_seq, host, sync_seq FROM resyncs")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var o openResync
		err := rows.Scan(logrow.Unsigned(&o.Actor), &o.Rev, logrow.Unsigned(&o.Since), &o.Host, logrow.Unsigned(&o.Sync))
		if err != nil {
			return nil, fmt.Errorf("the resync of account %d: %w", o.Actor, err)
		}
		open = append(open, o)
	}
	return open, rows.Err()
}

// loadSeen reads the records that an open resync has seen up to a log row.
func (r *resync) loadSeen(ctx context.Context, q logrow.Queryer, actor, sealed uint64) error {
	return logrow.Scan(ctx, q, r.since-1, sealed, func(rows logrow.Rows) error {
		for i := range rows.Log {
			if rows.Log[i].Actor != actor {
				continue
			}
			if err := r.loadRow(&rows.Log[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadRow notes a row of the resync's account.
func (r *resync) loadRow(row *logrow.Row) error {
	switch row.Op {
	case logrow.OpAccount, logrow.OpJob, logrow.OpRewritten, logrow.OpTurn:
		return nil
	case logrow.OpSync, logrow.OpBegun:
		r.begun = r.begun || row.Op == logrow.OpBegun
		r.lastUS = row.TimeUS
		return nil
	}
	if row.Rkey == nil {
		return fmt.Errorf("log row %d: %w", row.Seq, codec.ErrMalformed)
	}
	r.replayed(row.Op, row.Rev, row.TimeUS, codec.RecordKey(nil, row.Actor, row.Collection, row.Rkey))
	return nil
}

// openResync is a resync that was open when the store closed.
type openResync struct {
	Actor uint64
	Rev   int64
	Since uint64
	Host  string
	Sync  uint64
}
