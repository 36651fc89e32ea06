package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/benbjohnson/litestream"
)

// maxTaskBackoff is the longest pause after a failure of a maintenance task. A snapshot that fails uploads the whole
// database again, so that a quarter of a minute would be too short. Litestream itself would wait for the level's next
// turn, which is a day for snapshots.
const maxTaskBackoff = 5 * time.Minute

// task is a task that Litestream's store runs in its own loops: it compacts a level into the next, makes snapshots,
// removes old files and validates. The replicator runs the tasks itself, so that it counts each failure, shows it in
// the status and retries before the next turn.
type task struct {
	what string
	next func(now time.Time) time.Time // the time of its next run
	do   func(ctx context.Context) error
}

func (r *Replicator) tasks(levels litestream.CompactionLevels) []task {
	every := func(d time.Duration) func(time.Time) time.Time {
		return func(now time.Time) time.Time { return now.Add(d) }
	}
	all := []task{
		{"removal of compacted files", every(r.store.L0RetentionCheckInterval), r.local.EnforceL0RetentionByTime},
	}
	for _, level := range levels {
		if level.Level > 0 {
			all = append(all, task{fmt.Sprintf("compaction into level %d", level.Level), level.NextCompactionAt,
				func(ctx context.Context) error {
					return r.compact(ctx, level)
				}})
		}
	}
	snapshots := r.store.SnapshotLevel()
	all = append(all,
		task{"snapshot", snapshots.NextCompactionAt, func(ctx context.Context) error {
			return r.compact(ctx, snapshots)
		}},
		task{"retention", snapshots.NextCompactionAt, func(ctx context.Context) error {
			return r.store.EnforceSnapshotRetention(ctx, r.local)
		}})
	if r.store.ValidationInterval > 0 {
		all = append(all, task{"validation", every(r.store.ValidationInterval), r.validate})
	}
	return all
}

// compact compacts into a level. It returns nil if there is nothing to compact.
func (r *Replicator) compact(ctx context.Context, level *litestream.CompactionLevel) error {
	_, err := r.store.CompactDB(ctx, r.local, level)
	if errors.Is(err, litestream.ErrNoCompaction) || errors.Is(err, litestream.ErrCompactionTooEarly) {
		return nil
	}
	return err
}

func (r *Replicator) validate(ctx context.Context) error {
	result, err := r.store.Validate(ctx)
	if err != nil {
		return err
	}
	if !result.Valid && len(result.Errors) > 0 {
		return fmt.Errorf("the replica is incomplete: %s (and %d more)", result.Errors[0].Message, len(result.Errors)-1)
	}
	return nil
}

// runTask runs one task at its times until ctx ends. It begins with the first LTX file.
func (r *Replicator) runTask(ctx context.Context, u task) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.begun:
	}
	backoff := time.Duration(0)
	for {
		err := u.do(ctx)
		wait := time.Until(u.next(time.Now()))
		switch {
		case ctx.Err() != nil:
			return nil
		case fenced(err):
			return err
		case err != nil:
			r.failed(u.what, err)
			backoff = min(max(2*backoff, minBackoff), maxTaskBackoff)
			wait = backoff
		default:
			r.succeeded(u.what)
			backoff = 0
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
