package replica

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/restore"
)

// set replaces the queue.
func (q *segmentQueue) set(want []db.ManifestFile) {
	q.mu.Lock()
	q.want = want
	q.mu.Unlock()
	if len(want) > 0 {
		signal(q.wake)
	}
}

// wanted returns the queued segments that are not on this disk.
func (f *Follower) wanted() (want []db.ManifestFile) {
	f.queue.mu.Lock()
	defer f.queue.mu.Unlock()
	for _, s := range f.queue.want {
		if info, err := os.Stat(f.segmentPath(s)); err != nil || info.Size() != s.Bytes {
			want = append(want, s)
		}
	}
	return want
}

func (f *Follower) segmentPath(s db.ManifestFile) string {
	return filepath.Join(f.cfg.Dir, "segments", s.File)
}

// fetchLoop fetches segments while the index shows new log rows: a compacted segment may be large.
func (f *Follower) fetchLoop(ctx context.Context) error {
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.queue.wake:
		}
		for want := f.wanted(); len(want) > 0; want = f.wanted() {
			err := f.fetchAll(ctx, want)
			signal(f.queue.done)
			if err == nil {
				pause = 0
				continue
			}
			if ctx.Err() != nil {
				return nil
			}
			f.failed("fetch", err)
			pause = min(max(2*pause, minPollPause), maxPollPause)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
		}
	}
}

// fetchAll fetches segments. Each is complete or absent.
func (f *Follower) fetchAll(ctx context.Context, want []db.ManifestFile) error {
	bytes := int64(0)
	for _, s := range want {
		bytes += s.Bytes
	}
	if err := restore.EnoughSpace(f.cfg.Dir, bytes); err != nil {
		return err
	}
	began := f.cfg.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(restore.FetchesAtOnce)
	for _, s := range want {
		g.Go(func() error {
			_, err := restore.FetchSegment(ctx, f.clients, s, f.segmentPath(s))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	f.cfg.Logger.Info("downloaded segments", "files", len(want), "bytes", bytes,
		"duration", f.cfg.Now().Sub(began).Round(time.Millisecond))
	return restore.SyncDir(filepath.Join(f.cfg.Dir, "segments"))
}

// signal wakes the receiver of a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
