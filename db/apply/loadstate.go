package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// loadJobs reads the jobs as of the newest segment.
func (s *State) loadJobs(ctx context.Context, q logrow.Queryer) error {
	var rows []struct {
		Actor   uint64
		Was, Is bool
		Purge   uint8
		After   []byte
	}
	if err := q.SelectContext(ctx, &rows,
		"SELECT actor, was, now AS \"is\", purge, after FROM sealed_jobs"); err != nil {
		return err
	}
	for _, r := range rows {
		s.jobs[r.Actor] = &job{was: r.Was, is: r.Is, purge: r.Purge&sealedPurge != 0, down: r.Purge&sealedDown != 0,
			thenPurge: r.Purge&sealedThenPurge != 0, after: r.After}
	}
	return nil
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

type actorStatus struct {
	Actor  uint64
	Status uint8
}

// takeBackStatus takes back the changes of statuses by the log rows after one and up to another.
func (s *State) takeBackStatus(ctx context.Context, q logrow.Queryer, behind, upTo uint64) error {
	rows, err := q.QueryContext(ctx,
		"SELECT seq, actor, status FROM records WHERE seq > ? AND seq <= ? AND op = ? ORDER BY seq DESC",
		int64(behind), int64(upTo), int64(logrow.OpAccount))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var seq int64
		var p actorStatus
		if err := rows.Scan(&seq, logrow.Unsigned(&p.Actor), logrow.Unsigned(&p.Status)); err != nil {
			return fmt.Errorf("log row %d: %w", seq, err)
		}
		s.status.set(p.Actor, logrow.Status(p.Status>>4&7))
	}
	return rows.Err()
}

// loadResyncs opens the resyncs that were open at a log row, with the records seen up to it.
func (s *State) loadResyncs(ctx context.Context, q logrow.Queryer, sealed uint64) error {
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
			Op         logrow.Op
			Rev        int64
			Collection uint64
			Rkey       any
		}
		if err := q.SelectContext(ctx, &rows,
			`SELECT time_us, op, ifnull(rev, 0) AS rev, ifnull(collection, 0) AS collection, rkey
			FROM records WHERE seq BETWEEN ? AND ? AND actor = ? AND op NOT IN (?, ?, ?, ?) ORDER BY seq`,
			int64(o.Since), int64(sealed), int64(o.Actor), int64(logrow.OpAccount), int64(logrow.OpJob),
			int64(logrow.OpRewritten), int64(logrow.OpTurn)); err != nil {
			return err
		}
		for _, row := range rows {
			r.begun = r.begun || row.Op == logrow.OpBegun
			if row.Op == logrow.OpSync || row.Op == logrow.OpBegun {
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

// openResync is a resync that was open when the store closed.
type openResync struct {
	Actor uint64
	Rev   int64
	Since uint64 `db:"since_seq"`
	Host  string
	Sync  uint64 `db:"sync_seq"`
}
