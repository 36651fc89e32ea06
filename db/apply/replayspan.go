package apply

import (
	"context"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// ReplaySpan replays the names and the log rows of a lost segment after a snapshot of the segments below it. The log is
// whole. Newer names are for the segments above it: there may be millions.
func (s *State) ReplaySpan(ctx context.Context, q logrow.Queryer, v *index.Snapshot, lost *index.ManifestRow,
	full Bound) (*index.Snapshot, error) {
	if err := s.loadStateAt(ctx, q, v.Seq); err != nil {
		return nil, err
	}
	next := *v
	if err := s.loadMeta(ctx, q, &next); err != nil {
		return nil, fmt.Errorf("read meta data: %w", err)
	}
	if err := s.loadNamesTo(ctx, q, &next, lost.Names()); err != nil {
		return nil, fmt.Errorf("read names: %w", err)
	}
	return s.replayLog(ctx, q, &next, lost.ToSeq, full)
}

// loadStateAt finds the statuses, the jobs and the resyncs as of a log row, from the log alone, which is whole. Of a
// resync it is only known which revision it has: a replay asks no more.
func (s *State) loadStateAt(ctx context.Context, q logrow.Queryer, at uint64) error {
	s.reset()
	if _, err := s.loadStatus(ctx, q, at); err != nil {
		return fmt.Errorf("read statuses: %w", err)
	}
	var account logrow.Row
	if err := logrow.Scan(ctx, q, 0, at, func(rows logrow.Rows) error {
		for i := range rows.Log {
			if err := s.replayState(&rows.Log[i], &account); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read jobs and resyncs: %w", err)
	}
	return nil
}

// replayState notes what a log row says of jobs and resyncs. account is the newest row of an account's status before
// it, by which a job turns.
func (s *State) replayState(r, account *logrow.Row) error {
	switch r.Op {
	case logrow.OpAccount, logrow.OpJob, logrow.OpTurn, logrow.OpSync, logrow.OpSynced:
	default:
		return nil
	}
	j := s.jobs[r.Actor]
	switch {
	case r.Op == logrow.OpAccount:
		*account = *r
		if begun := jobOf(r.Status); begun != nil && r.Status&jobFlag != 0 {
			s.jobs[r.Actor] = begun
		}
	case r.Op == logrow.OpSync:
		s.resyncs[r.Actor] = newResync(r.Rev, r.Seq, r.TimeUS, s.resyncs[r.Actor])
	case r.Op == logrow.OpSynced:
		delete(s.resyncs, r.Actor)
	case j == nil:
		return fmt.Errorf("log row %d: account %d has no job under way", r.Seq, r.Actor)
	case r.Op == logrow.OpTurn && account.Actor != r.Actor:
		return fmt.Errorf("log row %d: the job of account %d turns without a change of its status", r.Seq, r.Actor)
	case r.Op == logrow.OpTurn:
		s.setJob(r.Actor, j.turned(logrow.Status(account.Status&15)))
	case r.Rkey == nil:
		s.stepped(r.Actor, nil)
	default:
		s.stepped(r.Actor, codec.RecordKey(nil, r.Actor, r.Collection, r.Rkey))
	}
	return nil
}
