package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/restore"
)

// cutsOf are the files of level 0 of a replica in a directory, oldest first.
func cutsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "ltx", "0", "*.ltx"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// removeAll removes a directory of a replica to which a running replicator may be writing.
func removeAll(dir string) {
	for os.RemoveAll(dir) != nil { // a file came meanwhile
	}
}

// losses are ways in which a replica in a directory loses what a restore needs.
var losses = map[string]func(t *testing.T, dir string){
	"all of it": func(t *testing.T, dir string) {
		removeAll(dir)
	},
	"the database": func(_ *testing.T, dir string) {
		removeAll(filepath.Join(dir, "ltx"))
	},
	"the oldest, as a rule by age does": func(t *testing.T, dir string) {
		for _, level := range []string{"9", "1"} {
			removeAll(filepath.Join(dir, "ltx", level))
		}
		must(t, os.Remove(cutsOf(t, dir)[0]))
	},
	"one in the middle": func(t *testing.T, dir string) {
		cuts := cutsOf(t, dir)
		must(t, os.Remove(cuts[len(cuts)/2]))
	},
	"the newest": func(t *testing.T, dir string) {
		cuts := cutsOf(t, dir)
		must(t, os.Remove(cuts[len(cuts)-1]))
	},
	// The place is emptied during an upload: the file that names the index is gone too.
	"all but the newest": func(t *testing.T, dir string) {
		cuts := cutsOf(t, dir)
		newest := cuts[len(cuts)-1]
		data, err := os.ReadFile(newest)
		must(t, err)
		removeAll(dir)
		must(t, os.MkdirAll(filepath.Dir(newest), 0o755))
		must(t, os.WriteFile(newest, data, 0o600))
	},
	"the segments": func(_ *testing.T, dir string) {
		removeAll(filepath.Join(dir, "segments"))
	},
	"whose it is": func(t *testing.T, dir string) { must(t, os.RemoveAll(filepath.Join(dir, "instance"))) },
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGone: what vanishes from the replica is noticed at the next look, said, and sent anew: then all of it can be
// restored, and it goes on as before, with merges. So it is after a restart, and where it vanished while nothing ran.
func TestGone(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		for i, running := range []bool{true, false} {
			if *rounds < 2 && i != len(name)%2 {
				continue // half of them by default
			}
			t.Run(name+map[bool]string{true: ", while it runs", false: ", while nothing runs"}[running], func(t *testing.T) {
				t.Parallel()
				events := mustEvents(t, 19, 800)
				cfg := liveConfig(t)
				cfg.Levels = []time.Duration{time.Hour}
				p := mustBegin(t, cfg, time.Minute, events)
				for range 8 {
					feedAll(t, p, 50)
				}
				eventually(t, "segments are in the replica", func() bool {
					st := p.rep.Status()
					return st.SegmentsUploaded > 0 &&
						st.State == "ok"
				})
				if running {
					lose(t, cfg.Path)
					p.rep.pollNow <- struct{}{}
					saysGone(t, p)
				} else {
					mustEnd(t, p)
					lose(t, cfg.Path)
					p = mustBegin(t, cfg, time.Minute, events)
				}
				eventually(t, "it is sent anew", func() bool {
					st := p.rep.Status()
					lost, err := p.rep.missing(t.Context())
					return st.State == "ok" && st.DurableLogSeq == p.store.Seq() && lost == nil && err == nil
				})
				if n := comesBack(t, cfg, events, time.Minute); n != 400 { // the comparison at the end is of all of it
					t.Errorf("%d events came back", n)
				}
				for range 4 {
					feedAll(t, p, 50)
				}
				if _, err := p.rep.local.Compact(t.Context(), 1); err != nil {
					t.Errorf("merges end: %v", err)
				}
				mustEnd(t, p)
				p = mustBegin(t, cfg, time.Minute, events)
				feedAll(t, p, 100)
				mustEnd(t, p)
				if n := equalsModel(t, cfg, events, time.Minute); n != 700 {
					t.Errorf("after a restart %d events came back", n)
				}
			})
		}
	}
}

// saysGone waits until the status has said that something is gone. An upload that the loss interrupts fails, says so,
// and finds its position anew: it then sends all files of level 0 again before a poll has missed one.
func saysGone(t *testing.T, p *primary) {
	t.Helper()
	defer func() {
		if t.Failed() {
			files, err := p.rep.listNames(context.WithoutCancel(t.Context()))
			t.Logf("%+v; the replica has %v, %v", p.rep.Status(), files, err)
		}
	}()
	eventually(t, "it says what is gone", func() bool {
		st := p.rep.Status()
		if strings.Contains(st.LastError, "uploaded data is missing in the replica") {
			return true
		}
		lost, err := p.rep.missing(t.Context())
		return strings.Contains(st.LastError, "upload: write ltx file") && st.State == "ok" && lost == nil && err == nil
	})
}

// TestGoneIsNotSafe: from the look that misses something until it is sent anew, the status says failing and counts
// nothing as safe, and an end in order fails.
func TestGoneIsNotSafe(t *testing.T) {
	t.Parallel()
	s := newStore(t, "s3")
	cfg := liveConfig(t)
	own := s.cfg
	own.DB, own.SyncInterval, own.Levels = cfg.DB, cfg.SyncInterval, cfg.Levels
	cfg = own
	events := mustEvents(t, 20, 600)
	p := mustBegin(t, cfg, 0, events)
	feedAll(t, p, 300)
	client, err := cfg.Client("")
	must(t, err)
	must(t, client.DeleteAll(t.Context()))
	gone, err := p.rep.missing(t.Context())
	if err != nil || gone == nil {
		t.Fatalf("%v, %v", gone, err)
	}
	s.fault.Store(storeFailing)
	p.rep.markGone(gone)
	st := p.rep.Status()
	if st.State != "failing" || st.DurableLogSeq != 0 || st.ReplicaTXID != 0 || st.LagTransactions == 0 ||
		!strings.Contains(st.Do, "uploads everything again") {
		t.Errorf("%+v", st)
	}
	var behind *BehindError
	if err := p.end(time.Second); !errors.As(err, &behind) {
		t.Errorf("an end in order: %v", err)
	}
	s.fault.Store(storeWell)
	p = mustBegin(t, cfg, 0, events)
	feedAll(t, p, 300)
	must(t, client.DeleteAll(t.Context())) // nobody has looked: the end does
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 600 {
		t.Errorf("%d events came back", n)
	}
}

// TestGoneBehindSnapshot: the files of level 0 vanish, and a snapshot up to the same transaction stays. A restore lacks
// nothing then, but Litestream finds its position in level 0: the newest file is sent again, by a running process and
// at an end.
func TestGoneBehindSnapshot(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"while it runs": true, "at the end": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := mustEvents(t, 23, 600)
			cfg := liveConfig(t)
			cfg.Levels = []time.Duration{time.Hour}
			p := mustBegin(t, cfg, 0, events)
			feedAll(t, p, 300)
			eventually(t, "all is uploaded", func() bool {
				st := p.rep.Status()
				return st.State == "ok" && st.LagTransactions == 0 && st.DurableLogSeq == p.store.Seq()
			})
			eventually(t, "the snapshot of the start", func() bool { // two at once would write one file
				files, err := restore.ListLevel(t.Context(), p.rep.client, restore.SnapshotLevel)
				return err == nil && len(files) > 0
			})
			if _, err := p.rep.local.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			if gone, err := p.rep.missing(t.Context()); gone != nil || err != nil {
				t.Fatalf("before anything is gone: %v, %v", gone, err)
			}
			removeAll(filepath.Join(cfg.Path, "ltx", "0"))
			if running {
				p.rep.pollNow <- struct{}{}
				eventually(t, "level 0 has the newest file", func() bool { // sent anew, or one that was cut since
					files, err := p.rep.listNames(t.Context())
					st := p.rep.Status()
					return err == nil && st.State == "ok" && st.ReplicaTXID > 0 &&
						uint64(newestCut(files)) == st.ReplicaTXID
				})
				feedAll(t, p, 100)
			}
			mustEnd(t, p)
			p = mustBegin(t, cfg, 0, events)
			feedAll(t, p, 100)
			_, err := p.rep.local.Compact(t.Context(), 1)
			if err != nil && !errors.Is(err, litestream.ErrNoCompaction) { // the start has compacted
				t.Errorf("compactions end: %v", err)
			}
			mustEnd(t, p)
			want := uint64(400)
			if running {
				want += 100
			}
			if n := equalsModel(t, cfg, events, 0); uint64(n) != want {
				t.Errorf("%d events came back, not %d", n, want)
			}
		})
	}
}

// TestHoleBehindSnapshot: a cut that is lost before it was sent is made good also where a snapshot of later has come
// first: the uploads and the merges go on.
func TestHoleBehindSnapshot(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 22, 600)
	cfg := liveConfig(t)
	cfg.Levels = []time.Duration{time.Hour}
	p := mustBegin(t, cfg, 0, events)
	feedAll(t, p, 200)
	p.stop()
	must(t, <-p.ran)
	sent := p.rep.Status().ReplicaTXID
	for range 4 {
		mustFeed(t, p, 50)
		must(t, p.rep.cut(t.Context()))
	}
	must(t, os.Remove(p.rep.local.LTXPath(0, ltx.TXID(sent+2), ltx.TXID(sent+2))))
	must(t, p.rep.queue.uploadAll(t.Context()))
	if _, err := p.rep.local.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, p.rep.upload(t.Context()))
	if st := p.rep.Status(); st.ReplicaTXID != st.LocalTXID || st.DurableLogSeq != p.store.Seq() {
		t.Errorf("%+v", st)
	}
	// The store seals beside its writer. Run has ended, so the test itself uploads a segment that was sealed after the
	// upload above.
	eventually(t, "no segment waits", func() bool {
		must(t, p.rep.queue.uploadAll(t.Context()))
		return p.rep.Status().State == "ok"
	})
	if _, err := p.rep.local.Compact(t.Context(), 1); err != nil {
		t.Errorf("merges end: %v", err)
	}
	p.ran <- nil // it has ended
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 400 {
		t.Errorf("%d events came back", n)
	}
}

// TestCompactionPassesGap: files of a level that vanished behind a snapshot end no compaction, into this level or the
// next.
func TestCompactionPassesGap(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 24, 800)
	cfg := liveConfig(t)
	cfg.SyncInterval, cfg.Levels = time.Hour, []time.Duration{time.Hour, time.Hour} // the test cuts, uploads and compacts
	p := mustBegin(t, cfg, 0, events)
	eventually(t, "the first upload", func() bool { return p.rep.Status().ReplicaTXID > 0 })
	cut := func() {
		t.Helper()
		must(t, p.feed(50))
		must(t, p.rep.cut(t.Context()))
		must(t, p.rep.upload(t.Context()))
	}
	compact := func(level int) {
		t.Helper()
		if _, err := p.rep.local.Compact(t.Context(), level); err != nil && !errors.Is(err, litestream.ErrNoCompaction) {
			t.Errorf("compaction into level %d: %v", level, err)
		}
	}
	client, err := cfg.Client("")
	must(t, err)
	vanish := func(level, at int) {
		t.Helper()
		files, err := restore.ListLevel(t.Context(), client, level)
		must(t, err)
		if len(files) <= at {
			t.Fatalf("level %d has %d files", level, len(files))
		}
		f := files[len(files)-1-at]
		must(t, client.DeleteLTXFiles(t.Context(), []*ltx.FileInfo{{Level: level, MinTXID: f.Min, MaxTXID: f.Max}}))
	}
	for range 3 {
		for range 4 {
			cut()
		}
		vanish(0, 1)
		if _, err := p.rep.local.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		compact(1)
		compact(1)
	}
	vanish(1, 1)
	for range 5 {
		compact(2)
	}
	cut()
	compact(1)
	compact(2)
	level2, err := p.rep.local.MaxLTXFileInfo(t.Context(), 2)
	must(t, err)
	if st := p.rep.Status(); level2.MaxTXID != ltx.TXID(st.LocalTXID) {
		t.Errorf("level 2 ends at transaction %s of %s", level2.MaxTXID, ltx.TXID(st.LocalTXID))
	}
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 650 {
		t.Errorf("%d events came back", n)
	}
}

// TestLocalHole: a file that was cut for the replica and is gone from this disk before it was sent doesn't end
// replication, nor merges; the newest that is gone or damaged is mended by a restart.
func TestLocalHole(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 21, 2000)
	cfg := liveConfig(t)
	cfg.Levels = []time.Duration{time.Hour}
	// The replica's path is a link, which the test can turn in one step: an upload in the background sees no state
	// between.
	replica, obstacle := cfg.Path+"-files", cfg.Path+"-obstacle"
	must(t, os.Mkdir(replica, 0o755))
	must(t, os.WriteFile(obstacle, nil, 0o644))
	turn := func(to string) {
		t.Helper()
		must(t, os.Symlink(to, cfg.Path+"-next"))
		must(t, os.Rename(cfg.Path+"-next", cfg.Path))
	}
	turn(replica)
	p := mustBegin(t, cfg, 0, events)
	defer func() {
		if t.Failed() {
			t.Logf("%+v", p.rep.Status())
		}
	}()
	feedAll(t, p, 300)
	turn(obstacle)
	sent := p.rep.Status().ReplicaTXID
	for range 5 {
		seq := p.rep.Status().LocalTXID // before: a cut may come while the events are applied
		mustFeed(t, p, 50)
		eventually(t, "a cut", func() bool { return p.rep.Status().LocalTXID > seq })
	}
	must(t, os.Remove(p.rep.local.LTXPath(0, ltx.TXID(sent+2), ltx.TXID(sent+2))))
	turn(replica)
	eventually(t, "it catches up", func() bool {
		st := p.rep.Status()
		return st.State == "ok" &&
			st.DurableLogSeq == p.store.Seq()
	})
	if n := equalsModel(t, cfg, events, 0); n != 550 {
		t.Errorf("%d events came back", n)
	}
	feedAll(t, p, 50)
	if _, err := p.rep.local.Compact(t.Context(), 1); err != nil {
		t.Errorf("merges end: %v", err)
	}
	mustEnd(t, p)
	if v := restore.Verify(t.Context(), cfg, restore.VerifyOptions{Scratch: t.TempDir()}); v.Outcome != restore.OK {
		t.Errorf("%+v", v)
	}
	n := 600
	for what, harm := range map[string]func(path string) error{
		"gone":    os.Remove,
		"damaged": func(path string) error { return os.Truncate(path, 120) },
		"all":     func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		pos, err := p.rep.local.Pos()
		must(t, err)
		must(t, harm(p.rep.local.LTXPath(0, pos.TXID, pos.TXID)))
		p, err = begin(t.Context(), cfg, 0, events, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		feedAll(t, p, 100)
		mustEnd(t, p)
		n += 100
		if got := equalsModel(t, cfg, events, 0); got != n {
			t.Errorf("%s: %d events came back", what, got)
		}
	}
}

// TestGoneLeavesNoHole: cuts that were made after the last upload are in the snapshot that is sent anew, and level 0
// has them as well, so that compaction goes on.
func TestGoneLeavesNoHole(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 23, 600)
	cfg := liveConfig(t)
	cfg.SyncInterval, cfg.Levels = time.Hour, []time.Duration{time.Hour} // the test cuts and uploads
	p := mustBegin(t, cfg, 0, events)
	cut := func() {
		t.Helper()
		must(t, p.feed(50))
		must(t, p.rep.cut(t.Context()))
	}
	eventually(t, "the first upload", func() bool { return p.rep.Status().ReplicaTXID > 0 })
	cut()
	must(t, p.rep.upload(t.Context()))
	must(t, os.RemoveAll(filepath.Join(cfg.Path, "ltx")))
	for range 2 {
		cut()
		must(t, p.rep.upload(t.Context()))
	}
	cut() // these are not uploaded
	cut()
	gone, err := p.rep.missing(t.Context())
	if err != nil || gone == nil {
		t.Fatalf("%v, %v", gone, err)
	}
	p.rep.markGone(gone)
	must(t, p.rep.upload(t.Context()))
	client, err := cfg.Client("")
	must(t, err)
	files, err := restore.ListLevel(t.Context(), client, 0)
	must(t, err)
	for i := 1; i < len(files); i++ {
		if files[i].Min != files[i-1].Max+1 {
			t.Errorf("level 0 goes from transaction %s to %s", files[i-1].Max, files[i].Min)
		}
	}
	if _, err := p.rep.local.Compact(t.Context(), 1); err != nil {
		t.Errorf("compaction: %v", err)
	}
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 250 {
		t.Errorf("%d events came back", n)
	}
}
