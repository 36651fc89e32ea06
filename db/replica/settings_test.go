package replica

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dirlock"
)

// TestSettings: what Litestream is told, where its own defaults or the file's would be traps.
func TestSettings(t *testing.T) {
	t.Parallel()
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, mustEvents(t, 1, 10))
	switch r := p.rep; {
	case r.local.Replica.AutoRecoverEnabled:
		t.Error("auto-recover hides a broken replica")
	case r.local.TruncatePageN != 25_000_000:
		t.Errorf("above a WAL of %d pages writing stops for as long as anybody reads", r.local.TruncatePageN)
	case r.local.MonitorInterval != 0 || r.local.Replica.MonitorEnabled:
		t.Error("Litestream's own loops wait for five minutes after failures")
	case r.store.SnapshotRetention < r.store.SnapshotInterval:
		t.Errorf("snapshots each %s are kept for %s", r.store.SnapshotInterval, r.store.SnapshotRetention)
	}
	mustEnd(t, p)
	if err := p.rep.Close(); err != nil { // again, as deferred calls do
		t.Errorf("closed twice: %v", err)
	}
}

// TestPrepareRefuses: what can't be right is refused before anything is opened.
func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	cfg := liveConfig(t)
	r := New(ReplicatorConfig{Replica: cfg, Dir: t.TempDir()})
	if err := r.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "make them the same") {
		t.Errorf("another data directory: %v", err)
	}
	p := mustBegin(t, cfg, 0, mustEvents(t, 1, 10))
	mustEnd(t, p)
	cfg.DB = filepath.Join(t.TempDir(), "weft.db")
	r = New(ReplicatorConfig{Replica: cfg, Dir: filepath.Dir(cfg.DB)})
	if err := r.Prepare(context.Background()); err == nil || !strings.Contains(err.Error(), "restore it first") {
		t.Errorf("a replica without a database: %v", err)
	}
}

// TestPrepareKeepsTheDirectory: from Prepare until the store is closed no other process can take the data directory,
// and a Prepare that fails gives it back.
func TestPrepareKeepsTheDirectory(t *testing.T) {
	t.Parallel()
	cfg := liveConfig(t)
	dir := filepath.Dir(cfg.DB)
	r := New(ReplicatorConfig{Replica: cfg, Dir: dir, lease: leaseForTest()})
	must(t, r.Prepare(t.Context()))
	if _, err := dirlock.Exclusive(dir); err == nil {
		t.Fatal("another process takes the directory between Prepare and Open")
	}
	s, err := db.Open(db.Config{Dir: dir, Lock: r.DirLock(), Replicator: true, OnSegment: r.OnSegment})
	must(t, err)
	must(t, r.Open(t.Context(), s))
	if _, err := dirlock.Exclusive(dir); err == nil {
		t.Fatal("another process takes the directory of an open store")
	}
	must(t, errors.Join(s.Close(), r.Close()))
	lock, err := dirlock.Exclusive(dir)
	must(t, err)
	must(t, lock.Release())

	other := t.TempDir() // which the replica, that has an index now, is not restored to
	cfg.DB = filepath.Join(other, "weft.db")
	must(t, os.WriteFile(filepath.Join(other, "weft.db"), []byte("no database"), 0o644))
	if err := New(ReplicatorConfig{Replica: cfg, Dir: other, lease: leaseForTest()}).Prepare(t.Context()); err == nil {
		t.Fatal("a file that is no database is accepted")
	}
	lock, err = dirlock.Exclusive(other)
	must(t, err)
	must(t, lock.Release())
}

// hangingWrites is a client whose writes hang until they are canceled.
type hangingWrites struct{ litestream.ReplicaClient }

func (hangingWrites) WriteLTXFile(ctx context.Context, _ int, _, _ ltx.TXID, _ io.Reader) (*ltx.FileInfo, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestCloseReleasesTheLease: a last upload that hangs takes none of the time in which the lease is released, so that
// another machine can take the replica over at once.
func TestCloseReleasesTheLease(t *testing.T) {
	t.Parallel()
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, mustEvents(t, 10, 200))
	mustFeed(t, p, 100)
	p.stop()
	must(t, <-p.ran)
	must(t, p.rep.Flush(t.Context()))
	mustFeed(t, p, 50)
	p.rep.local.Replica.Client = hangingWrites{p.rep.local.Replica.Client}
	p.rep.cfg.closeTimeout = 500 * time.Millisecond
	p.rep.Release()
	must(t, p.store.Close())
	_ = p.rep.Close()
	last, err := (&lease{objects: p.rep.lease.objects}).newest(t.Context())
	must(t, err)
	if last == nil || !last.Released {
		t.Errorf("the lease is not released: %+v", last)
	}
}
