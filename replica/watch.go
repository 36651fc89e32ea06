package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/superfly/ltx"
)

const (
	// fenceEvery is how often the replica is looked at for what somebody else has written: a request a minute.
	fenceEvery = time.Minute
	// collectEvery is how often segments that nothing names are looked for. Two looks lie between the end of the last restore
	// point that names one and its end, so that a restore that had begun has an hour.
	collectEvery = time.Hour
)

// fence is set for good when somebody else writes to the replica.
type fence struct{ err atomic.Pointer[error] }

func (f *fence) lost() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// watch looks after the replica beside the uploads.
func (r *Replicator) watch(ctx context.Context) error {
	collect := r.cfg.Now().Add(fenceEvery)
	ticker := time.NewTicker(fenceEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := r.guard(ctx); err != nil {
			r.failed("fence", err)
			return err
		}
		if now := r.cfg.Now(); !now.Before(collect) {
			collect = now.Add(collectEvery)
			if err := r.collect(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Logger.Warn("segments that nothing names stay in the replica for now", "err", err)
			}
		}
	}
}

// guard finds transactions in the replica that this process hasn't cut. Of two writers to one replica at least one meets
// what is ahead of its own; what both have written can't be restored.
func (r *Replicator) guard(ctx context.Context) error {
	client, err := r.cfg.Replica.Client("")
	if err != nil {
		return nil // Open would have failed
	}
	if err := client.Init(ctx); err != nil {
		return nil // away: uploads say so
	}
	files, err := client.LTXFiles(ctx, 0, 0, false)
	if err != nil {
		return nil
	}
	defer func() { _ = files.Close() }()
	var theirs ltx.TXID
	for files.Next() {
		theirs = max(theirs, files.Item().MaxTXID)
	}
	pos, err := r.local.Pos() // after the list: no upload is of a later cut
	if err != nil || theirs <= pos.TXID {
		return nil
	}
	lost := error(&ForeignError{Where: r.cfg.Replica.Where(), Theirs: r.index.Instance(), Ours: r.index.Instance(), Remote: theirs, Local: pos.TXID,
		Why: "is being written by another process too"})
	r.fence.err.Store(&lost)
	return lost
}

// collect removes segments from the replica that no moment that can be restored names. A segment is one when it has left the
// manifest, and the oldest moment is not older than that. What is known of a segment that has left is in its file in "sent":
// the transaction by which it had, and "free" once no moment names it; it is removed an hour later.
func (r *Replicator) collect(ctx context.Context) error {
	entries, err := os.ReadDir(r.debt.path("sent", ""))
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	// First who is alive, then the position: a segment that isn't in the list had left by this transaction.
	alive := map[string]bool{}
	for _, path := range r.index.SegmentPaths() {
		alive[filepath.Base(path)] = true
	}
	if err := r.local.Sync(ctx); err != nil {
		return fmt.Errorf("replica: cut: %w", err)
	}
	pos, err := r.local.Pos()
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	oldest := ltx.TXID(0)
	for _, e := range entries {
		name := e.Name()
		text, err := os.ReadFile(r.debt.path("sent", name))
		if err != nil {
			return fmt.Errorf("replica: %w", err)
		}
		left, free, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		switch n, _ := strconv.ParseUint(left, 16, 64); {
		case alive[name] && left == "":
		case alive[name]: // it was being entered when it was looked at
			err = r.mark(name, "")
		case left == "":
			err = r.mark(name, pos.TXID.String())
		case free == "":
			if oldest == 0 {
				if oldest, err = r.oldest(ctx); err != nil {
					return err
				}
			}
			if oldest != 0 && uint64(oldest) >= n {
				err = r.mark(name, left+" free")
			}
		default:
			err = r.remove(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Replicator) mark(name, text string) error {
	path := r.debt.path("", "mark.tmp") // half a number would be a smaller one
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Rename(path, r.debt.path("sent", name))); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	return nil
}

func (r *Replicator) remove(ctx context.Context, name string) error {
	client, err := r.cfg.Replica.Client(SegmentSub(name))
	if err != nil {
		return err
	}
	if err := client.Init(ctx); err != nil {
		return fmt.Errorf("replica: remove %s: %w", name, err)
	}
	if err := client.DeleteAll(ctx); err != nil {
		return fmt.Errorf("replica: remove %s: %w", name, err)
	}
	r.cfg.Logger.Info("a segment that nothing names left the replica", "file", name)
	if err := os.Remove(r.debt.path("sent", name)); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	return nil
}

// oldest is the oldest transaction that the replica can restore; 0: none.
func (r *Replicator) oldest(ctx context.Context) (oldest ltx.TXID, err error) {
	client, err := r.cfg.Replica.Client("")
	if err != nil {
		return 0, err
	}
	files, err := listFiles(ctx, client)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		// What begins with the first transaction is a whole database.
		if f.Min == 1 && (oldest == 0 || f.Max < oldest) {
			oldest = f.Max
		}
	}
	return oldest, nil
}
