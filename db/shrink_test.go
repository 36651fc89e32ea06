package db_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestShrink: a file that a long log has filled gives its pages back once the log has a window; one from before
// auto_vacuum reuses them.
func TestShrink(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("an older weft's file: %t", old), func(t *testing.T) {
			if fraction(2) > 1 && !old {
				t.Skip("with -thorough: go test ./... must stay under five minutes on two cores")
			}
			t.Parallel()
			cfg := db.Config{Dir: t.TempDir(), SealBytes: 64 << 10}
			if old {
				makeSchema(t, cfg.Dir, slices.Max(schemaVersions(t)))
			}
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
			s := openWith(t, cfg)
			h := newHistory(1)
			fill := func(n int) {
				t.Helper()
				for range n {
					if _, err := s.Apply(db.Batch{Host: "test", Events: someLikes(h, 1000)}); err != nil {
						t.Fatal(err)
					}
					clock.Add(1)
				}
			}
			fill(60) // the file is then far larger than its reserve
			size := func() int64 {
				t.Helper()
				if err := s.Checkpoint(); err != nil {
					t.Fatal(err)
				}
				info, err := os.Stat(filepath.Join(cfg.Dir, "weft.db"))
				if err != nil {
					t.Fatal(err)
				}
				return info.Size()
			}
			full := size()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.ReplayWindow = 12 * time.Minute
			s = openWith(t, cfg)
			for range 20 {
				clock.Add(60)
				for s.Sealing() {
					time.Sleep(time.Millisecond)
				}
				if err := s.PruneTick(); err != nil {
					t.Fatal(err)
				}
			}
			pruned := size()
			if !old && pruned > full/4 {
				t.Errorf("the file has %d bytes, and had %d", pruned, full)
			}
			if old && pruned > full+1<<16 {
				t.Errorf("the file of an older weft grew from %d to %d bytes", full, pruned)
			}
			fill(10)
			if again := size(); old && again > full+1<<16 {
				t.Errorf("the file grew from %d to %d bytes, with pages free", full, again)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if old { // as docs/operations.md says
				vacuum(t, cfg.Dir)
				s = openWith(t, cfg)
				if vacuumed := size(); vacuumed > full*3/4 {
					t.Errorf("the file has %d bytes after VACUUM, and had %d", vacuumed, full)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			checkAll(t, cfg.Dir)
			sound(t, cfg.Dir)
		})
	}
}

// vacuum brings an older weft's file to auto_vacuum.
func vacuum(t *testing.T, dir string) {
	t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if _, err := base.Exec("PRAGMA auto_vacuum = INCREMENTAL; VACUUM"); err != nil {
		t.Fatal(err)
	}
}

// sound has SQLite check a database, which has auto_vacuum.
func sound(t *testing.T, dir string) {
	t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	var said string
	var mode int
	if err := base.QueryRow("SELECT * FROM pragma_integrity_check, pragma_auto_vacuum").Scan(&said, &mode); err != nil ||
		said != "ok" || mode != 2 {
		t.Errorf("SQLite says %q, auto_vacuum is %d, %v", said, mode, err)
	}
}

// TestShrinkIdle: free pages that are fewer than the rows of a seal take are returned once they have been free for ten
// minutes, and no page is returned that is in use between two ticks.
func TestShrinkIdle(t *testing.T) {
	t.Parallel()
	cfg := db.Config{Dir: t.TempDir(), SealBytes: 8 << 20, ReplayWindow: 12 * time.Minute}
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	cfg.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	s := openWith(t, cfg)
	h := newHistory(1)
	if _, err := s.Apply(db.Batch{Host: "test", Events: someLikes(h, 20_000)}); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		t.Helper()
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		return must(os.Stat(filepath.Join(cfg.Dir, "weft.db"))).Size()
	}
	full := size()
	sizes := []int64{full}
	for range 45 {
		clock.Add(60)
		for s.Sealing() {
			time.Sleep(time.Millisecond)
		}
		if err := s.PruneTick(); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, size())
	}
	if end := sizes[len(sizes)-1]; end > full/4 || sizes[20] < full {
		t.Errorf("the sizes after each minute are %v", sizes)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkAll(t, cfg.Dir)
	sound(t, cfg.Dir)
}

// someLikes returns events of as many likes by one account, each of another page, a millisecond apart.
func someLikes(h *history, n int) (events []apply.Event) {
	for range n {
		h.now += 1000
		h.rev = uint64(h.now) << 10
		e := h.event(h.dids[0], db.OpCreate)
		e.Collection, e.Rkey = "app.bsky.feed.like", h.tid(h.now)
		e.Links = []db.Link{{Path: "subject.uri", Target: fmt.Sprintf("https://example.com/%016x/%016x/%016x", h.r.Uint64(),
			h.r.Uint64(), h.r.Uint64())}}
		events = append(events, e)
	}
	return events
}
