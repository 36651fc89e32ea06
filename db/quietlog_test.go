package db_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestQuietLogEnds: the ticks alone prune a log that no event reaches any more.
func TestQuietLogEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openWith(t, db.Config{Dir: t.TempDir(), ReplayWindow: 15 * time.Minute})
		events := likesOfNow()
		for _, batch := range [][]apply.Event{events[:49], events[49:]} { // a block of the log each: the newest one stays
			if _, err := s.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
				t.Fatal(err)
			}
		}
		pass(14 * time.Minute)
		if oldest, _ := must2(s.LogRange(t.Context())); oldest != 1 {
			t.Errorf("within the window, row %d is the oldest", oldest)
		}
		pass(6 * time.Minute)
		if oldest, newest := must2(s.LogRange(t.Context())); oldest != newest {
			t.Errorf("five minutes after the window, rows %d to %d are left", oldest, newest)
		}
		source := db.Source{Collection: events[0].Collection, Path: "subject"}
		if n, err := s.CountLinks(t.Context(), "https://example.com/", source); err != nil || n != 50 {
			t.Errorf("%d links, %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// likesOfNow returns 50 likes of a page, with the present time.
func likesOfNow() (events []apply.Event) {
	h := newHistory(1)
	for i := range 50 {
		e := h.recordEvent(h.dids[0], db.OpCreate)
		e.Collection = "app.bsky.feed.like"
		e.TimeUS = time.Now().UnixMicro()
		e.Rkey = fmt.Sprintf("k%d", i)
		e.Links = []db.Link{{Path: "subject", Target: "https://example.com/"}}
		events = append(events, e)
	}
	return events
}

// TestUnsealedRowsStay: log rows that no segment holds are not pruned, however old they are, and go once one holds
// them.
func TestUnsealedRowsStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var written atomic.Bool
		s := openWith(t, db.Config{Dir: t.TempDir(), ReplayWindow: 15 * time.Minute, Failpoint: func(name string) error {
			if name == "created" && !written.Load() {
				return syscall.EMFILE // it is tried again
			}
			return nil
		}})
		events := likesOfNow()
		for _, batch := range [][]apply.Event{events[:49], events[49:]} {
			if _, err := s.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Hour)
		if s.Degraded() == "" {
			t.Error("no segment fails")
		}
		if oldest, _ := must2(s.LogRange(t.Context())); oldest != 1 {
			t.Errorf("without a segment, row %d is the oldest", oldest)
		}
		written.Store(true)
		pass(10 * time.Minute)
		if oldest, newest := must2(s.LogRange(t.Context())); oldest != newest {
			t.Errorf("ten minutes after the segment, rows %d to %d are left", oldest, newest)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestQuietBodiesEnd: what a slow slice replaced and deleted is gone with the window, though nothing comes and nothing
// fills a segment.
func TestQuietBodiesEnd(t *testing.T) {
	t.Parallel()
	for _, mode := range []db.Bodies{db.BodiesWindow, db.BodiesKeep} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := newBodyStore(t, db.Config{Bodies: mode, ReplayWindow: 30 * time.Minute})
			b.apply(b.event(db.OpCreate, alice, "kept", "kept"), b.event(db.OpCreate, alice, "changed", "before"),
				b.event(db.OpCreate, alice, "gone", "deleted"))
			b.apply(b.event(db.OpUpdate, alice, "changed", "after"), b.event(db.OpDelete, alice, "gone", ""))
			left := func() string {
				t.Helper()
				var bodies string
				if err := b.base.QueryRow("SELECT ifnull(group_concat(seq, ' ' ORDER BY seq), '') FROM bodies").Scan(
					&bodies); err != nil {
					t.Fatal(err)
				}
				return bodies
			}
			for minute := range 35 {
				if got := left(); minute < 30 && got != "1 2 3 4" {
					t.Fatalf("after %d minutes the bodies of rows %s are left", minute, got)
				}
				b.clock.Add(60)
				for b.Sealing() {
					time.Sleep(time.Millisecond)
				}
				if err := b.PruneTick(); err != nil {
					t.Fatal(err)
				}
			}
			want := map[db.Bodies]string{db.BodiesWindow: "", db.BodiesKeep: "1 4"}[mode]
			if got := left(); got != want {
				t.Errorf("the bodies of rows %q are left, not %q", got, want)
			}
		})
	}
}

// TestOlderMarks: the first start of an older weft's index knows how old its rows are, and says that they will go.
func TestOlderMarks(t *testing.T) {
	t.Parallel()
	const newest = 1_770_000_000_000_000 // that of makeSchema's upstream
	dir := t.TempDir()
	makeSchema(t, dir, 7)
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"INSERT INTO records (seq, time_us, op, actor, collection, rkey, rev) SELECT 2, time_us, op, actor, collection, rkey + 1, rev FROM records",
		"INSERT INTO links (id, op, source, target) SELECT 8192, op, source, target FROM links",
		"INSERT INTO marks (seq, age_us) VALUES (1, 60000000), (2, 3660000000)",
	} {
		if _, err := base.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := base.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		window time.Duration
		told   bool
	}{{0, false}, {2 * time.Hour, false}, {30 * time.Minute, true}} {
		var logs logBuffer
		s := openWith(t, db.Config{Dir: dir, ReplayWindow: tc.window, Logger: logTo(&logs),
			Now: func() time.Time { return time.UnixMicro(newest + 1_000_000) }})
		if age, err := s.LogAge(t.Context(), 1); err != nil || age != time.Hour || s.LogClock() != newest {
			t.Errorf("row 1 is %s old, the clock is at %d, %v", age, s.LogClock(), err)
		}
		if told := strings.Contains(logs.String(), "are deleted from now on"); told != tc.told {
			t.Errorf("with the window %s: %s", tc.window, logs.String())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
