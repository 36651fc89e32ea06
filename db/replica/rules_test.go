package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	// Only a failure takes so long: the race detector on a busy machine is slow.
	const patience = 2 * time.Minute
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func mustEvents(t *testing.T, seed uint64, n int) []apply.Event {
	t.Helper()
	events, err := liveEvents(seed, n)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func mustFeed(t *testing.T, p *primary, n int) {
	t.Helper()
	if err := p.feed(n); err != nil {
		t.Fatal(err)
	}
}

func mustEnd(t *testing.T, p *primary) {
	t.Helper()
	if err := p.end(time.Minute); err != nil {
		t.Fatal(err)
	}
}

// TestForeign: a replica that isn't this index's, or is of a later state of it, is refused before anything is written,
// with both positions and the ways out; and nothing of it changes.
func TestForeign(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 3, 600)
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, cfg *config.Config) // makes the data directory that is refused
		why     string
	}{
		{"an empty new database over an old replica", func(t *testing.T, cfg *config.Config) {
			cfg.DB = filepath.Join(t.TempDir(), "weft.db")
			s, err := db.Open(db.Config{Dir: filepath.Dir(cfg.DB)})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}, "belongs to another index"},
		{"another index with a replica of its own before", func(t *testing.T, cfg *config.Config) {
			other := liveConfig(t)
			p := mustBegin(t, other, 0, events)
			mustFeed(t, p, 600)
			mustEnd(t, p)
			cfg.DB = other.DB
		}, "belongs to another index"},
		{"an old copy of the data directory", func(t *testing.T, cfg *config.Config) {
			// As of the first 300 events; the replica then goes on.
			old := t.TempDir()
			if err := os.CopyFS(old, os.DirFS(filepath.Dir(cfg.DB))); err != nil {
				t.Fatal(err)
			}
			p := mustBegin(t, *cfg, 0, events)
			mustFeed(t, p, 200)
			mustEnd(t, p)
			cfg.DB = filepath.Join(old, "weft.db")
		}, "is ahead of this data directory"},
		{"an old copy of weft.db alone", func(t *testing.T, cfg *config.Config) {
			old, fresh := t.TempDir(), filepath.Join(t.TempDir(), "weft.db")
			if _, err := restore.Restore(t.Context(), *cfg, old, restore.Options{}); err != nil {
				t.Fatal(err)
			}
			p := mustBegin(t, *cfg, 0, events)
			mustFeed(t, p, 200)
			mustEnd(t, p)
			if err := os.Rename(filepath.Join(old, "weft.db"), fresh); err != nil {
				t.Fatal(err)
			}
			cfg.DB = fresh
		}, "is ahead of this data directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := liveConfig(t)
			p := mustBegin(t, cfg, 0, events)
			mustFeed(t, p, 300)
			mustEnd(t, p)
			instance := p.store.Instance()
			tc.prepare(t, &cfg)
			before := treeOf(t, cfg.Path)
			_, err := begin(t.Context(), cfg, 0, events, nil)
			var foreign *ForeignError
			if !errors.As(err, &foreign) {
				t.Fatalf("%v", err)
			}
			for _, want := range []string{tc.why, instance, "transaction", "a path in the replica that no other index has used",
				"move this data directory away"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if after := treeOf(t, cfg.Path); after != before {
				t.Errorf("the replica was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// treeOf names all files beneath a directory.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, "\n")
}

// TestGoesOn: what belongs together is not refused: a restored index, one that was restored and killed before its first
// upload, and one that went on without its replica for a while.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 4, 900)
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 300)
	mustEnd(t, p)
	cfg.DB = filepath.Join(t.TempDir(), "weft.db")
	dir := filepath.Dir(cfg.DB)
	if _, err := restore.Restore(t.Context(), cfg, dir, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	// Without its replica, and without what Litestream keeps.
	s, err := db.Open(db.Config{Dir: dir, SealBytes: 40 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(db.Batch{Host: liveHost, Events: events[300:600]}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p = mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 300)
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 900 {
		t.Errorf("%d events came back", n)
	}
}

// TestNoSecondCopy: a start after a stop in order uploads what is new, and not the database again; that takes a WAL
// that outlives its last connection, and an index that is closed before Litestream.
func TestNoSecondCopy(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 5, 4000)
	cfg := liveConfig(t)
	cut := func() (bytes int64) { // in the files that hold what was cut, whatever was merged of them since
		files, err := filepath.Glob(filepath.Join(cfg.Path, "ltx", "0", "*.ltx"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			bytes += info.Size()
		}
		return bytes
	}
	p := mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 3900)
	mustEnd(t, p)
	whole := cut()
	p = mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 50)
	mustEnd(t, p)
	if again := cut() - whole; again > whole/10 {
		t.Errorf("a start with 50 events sent %d bytes, and one with 3,900 %d", again, whole)
	}
}

// TestSegmentsFirst: while segments can't be stored, no moment that names one can be restored; sealing goes on, the
// debt is counted, and when they can, all is caught up.
func TestSegmentsFirst(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 6, 3000)
	cfg := liveConfig(t)
	obstacle := filepath.Join(cfg.Path, "segments")
	if err := os.MkdirAll(cfg.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(obstacle, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := mustBegin(t, cfg, 0, events)
	eventually(t, "the empty index is in the replica", func() bool { return p.rep.Status().ReplicaTXID > 0 })
	mustFeed(t, p, 3000)
	eventually(t, "sealing goes on", func() bool {
		st := p.rep.Status()
		return st.SegmentsWaiting >= 2 &&
			st.Failures > 0
	})
	eventually(t, "merges go on", func() bool { return p.store.Work().Compactions > 0 })
	st := p.rep.Status()
	if st.State != "failing" || st.LagBytes < st.SegmentsWaitingBytes || st.SegmentsWaitingBytes == 0 ||
		st.LagTransactions == 0 || st.LagSeconds == 0 ||
		st.DurableLogSeq >= p.store.Seq() || st.LastError == "" || st.Do == "" {
		t.Errorf("%+v", st)
	}
	dir := t.TempDir()
	if r, err := restore.Restore(t.Context(), cfg, dir, restore.Options{}); err != nil || r.Segments != 0 ||
		r.LastSeq < st.DurableLogSeq || r.LastSeq >= p.store.Seq() {
		t.Errorf("%+v, %v; the status says %+v", r, err, st)
	}
	sameAsModel(t, dir, events, 0, 0)
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it catches up", func() bool {
		st := p.rep.Status()
		return st.State == "ok" &&
			st.DurableLogSeq == p.store.Seq()
	})
	if n := equalsModel(t, cfg, events, 0); n != 3000 {
		t.Errorf("%d events came back", n)
	}
	// What merges have replaced meanwhile is there too: other moments name it.
	left, err := os.ReadDir(filepath.Join(cfg.Path, "segments"))
	if err != nil || len(left) <= len(p.store.SegmentPaths()) {
		t.Errorf("%d segments in the replica, and %d in use (%v)", len(left), len(p.store.SegmentPaths()), err)
	}
	mustEnd(t, p)
}

// TestStoreAway: an end in order while the store is away says what is on this disk alone, in the time that it was
// given; a start while it is away goes on where it has replicated before; and all is caught up.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	s := newStore(t, "s3")
	cfg := liveConfig(t)
	own := s.cfg
	own.DB, own.SyncInterval, own.Levels = cfg.DB, cfg.SyncInterval, cfg.Levels
	cfg = own
	events := mustEvents(t, 7, 2000)
	s.fault.Store(storeAway)
	if _, err := begin(t.Context(), cfg, 0, events, nil); err == nil ||
		!strings.Contains(err.Error(), "cannot check whether") {
		t.Errorf("with neither a database nor a replica that answers: %v", err)
	}
	s.fault.Store(storeWell)
	p := mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 500)
	mustEnd(t, p)
	s.fault.Store(storeFailing)
	p = mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 1000)
	eventually(t, "the failure is seen", func() bool { return p.rep.Status().State == "failing" })
	seq := p.store.Seq()
	began := time.Now()
	err := p.end(2 * time.Second)
	var behind *BehindError
	if !errors.As(err, &behind) || time.Since(began) > 20*time.Second || behind.Segments == 0 {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	p = mustBegin(t, cfg, 0, events)
	s.fault.Store(storeWell)
	eventually(t, "it catches up", func() bool {
		st := p.rep.Status()
		return st.State == "ok" &&
			st.DurableLogSeq >= seq
	})
	mustFeed(t, p, 500)
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 2000 {
		t.Errorf("%d events came back", n)
	}
}

// TestCollect: a segment that merges have replaced leaves the replica when the oldest moment that can be restored is
// past it, and no look earlier.
func TestCollect(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 9, 3000)
	cfg := liveConfig(t)
	cfg.Levels = []time.Duration{time.Hour} // nothing merges by itself
	p := mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 100)
	eventually(t, "a moment before segments leave", func() bool {
		pos, err := p.rep.local.Pos()
		return err == nil && pos.TXID > 0
	})
	mustFeed(t, p, 2900)
	stored := func() int {
		left, err := os.ReadDir(filepath.Join(cfg.Path, "segments"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range left { // DeleteAll leaves no directory, or an empty one
			if files, _ := filepath.Glob(filepath.Join(cfg.Path, "segments", e.Name(), "*", "*", "*.ltx")); len(files) > 0 {
				n++
			}
		}
		return n
	}
	// Between a seal and the merge that it brings nothing is under way for a moment.
	was, since := "", time.Now()
	eventually(t, "merges and uploads", func() bool {
		w, st := p.store.Work(), p.rep.Status()
		if is := fmt.Sprint(w, st.State, p.store.SegmentPaths(), stored()); is != was {
			was, since = is, time.Now()
		}
		return w.Compactions > 0 && !w.Compacting && !w.Sealing && st.State == "ok" && time.Since(since) > time.Second
	})
	// An earlier data directory has uploaded a segment that this one does not know.
	must(t, p.rep.clients.Use(config.SegmentSub("1-1-STRAY.weft"), func(client litestream.ReplicaClient) error {
		_, err := Upload(t.Context(), client, p.store.SegmentPaths()[0], nil)
		return err
	}))
	ctx, all, used := t.Context(), stored(), len(p.store.SegmentPaths())
	look := func(want int) {
		t.Helper()
		if err := p.rep.collect(ctx); err != nil {
			t.Fatal(err)
		}
		if n := stored(); n != want {
			t.Errorf("%d segments in the replica, and %d are expected, of %d with %d in use", n, want, all, used)
		}
	}
	if all <= used {
		t.Fatalf("nothing was replaced: %d segments, %d in use", all, used)
	}
	for range 4 {
		look(all) // the first transaction can be restored
	}
	// A snapshot alone removes nothing: what is older is there still.
	if _, err := p.rep.local.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	look(all)
	// The older moments go.
	if _, err := p.rep.local.EnforceSnapshotRetention(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	for level := range 2 {
		files, err := litestream.FindLTXFiles(ctx, p.rep.local.Replica.Client, level, false, isFirst)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.rep.local.Replica.Client.DeleteLTXFiles(ctx, files); err != nil {
			t.Fatal(err)
		}
	}
	look(all) // they are free, and a restore may be on its way
	look(used)
	look(used)
	if n := equalsModel(t, cfg, events, 0); n != 3000 {
		t.Errorf("%d events came back", n)
	}
	mustEnd(t, p)
}

func isFirst(f *ltx.FileInfo) (bool, error) { return f.MinTXID == 1, nil }
