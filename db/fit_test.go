package db_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/disk"
)

// fitting is a keeping with a budget that the rule *=fit keeps, and follows that are kept for ever.
type fitting struct {
	*keeping
	files int64 // bytes that the budget leaves for files, beside the reserve and the room of the largest compaction
	fitUS int64
	made  int // batches
}

const fitRules = "app.bsky.graph.*=forever,*=fit"

// budget returns a budget that leaves so many bytes for files.
func (f *fitting) budget(files int64) disk.Budget {
	f.t.Helper()
	reserve := must(f.s.Space(f.t.Context())).Reserve
	f.files = files
	return disk.Budget{Bytes: (reserve + files) * 64 / 55} // the largest compaction takes an eighth, and an eighth more
}

// batch applies likes and follows, and looks four minutes later whether the files are within the budget.
func (f *fitting) batch(events int) {
	f.t.Helper()
	var batch []apply.Event
	f.made++
	for i := range events {
		e := f.like(i*f.made%1999, fmt.Sprintf("https://%d.example/", f.made*i%97))
		e.Rkey = newHistory(0).tid(e.TimeUS + int64(i))
		if i%20 == 0 {
			e.Collection = "app.bsky.graph.follow"
			e.Links[0] = db.Link{Path: "subject", Target: "did:plc:222222222222222222222222"}
		}
		batch = append(batch, e)
	}
	f.apply(batch...)
	f.look()
}

func (f *fitting) look() {
	f.t.Helper()
	f.after(4 * time.Minute)
	untilCompacted(f.t, f.s)
	if us := f.s.FitUS(); us < f.fitUS {
		f.t.Fatalf("the horizon went back from %d to %d", f.fitUS, us)
	}
	f.fitUS = f.s.FitUS()
}

func newFitting(t *testing.T, files int64) *fitting {
	t.Helper()
	g := &given{}
	g.total.Store(1 << 40)
	g.free.Store(1 << 40)
	f := &fitting{keeping: newKeeping(t, db.Config{SealBytes: 64 << 10, CacheBytes: 1 << 20, Disk: g.space,
		ReplayWindow: 10 * time.Minute, Checkpoint: must(checkpoint.Parse("20 frames"))}, "", nil)}
	f.cfg.Budget = f.budget(files)
	f.open(fitRules, map[string]time.Duration{"app.bsky.graph.*": 0, "*": dbtest.Fit})
	return f
}

// TestFit: an index whose rule says fit stays within its budget, and is not degraded. The oldest links go, those of
// other rules stay, and every answer is that of the model. With a smaller budget it shrinks by itself.
func TestFit(t *testing.T) {
	t.Parallel()
	f := newFitting(t, 800<<10)
	limit := f.cfg.Budget.Bytes
	moves := 0
	for n := range 80 {
		was := f.fitUS
		f.batch(400)
		if why := f.s.Degraded(); why != "" || f.s.Paused() != "" {
			t.Fatalf("batch %d: degraded %q, paused %q", n, why, f.s.Paused())
		}
		if bytes := bytesIn(t, f.cfg.Dir); bytes > limit {
			t.Fatalf("batch %d: %d bytes of a budget of %d", n, bytes, limit)
		}
		if f.fitUS > was {
			moves++
		}
		if n == 50 {
			f.compare(100)
		}
	}
	if kept := f.s.LogClock() - f.fitUS; moves < 3 || kept < (20*time.Minute).Microseconds() {
		t.Errorf("%d moves of the horizon, %d microseconds are kept", moves, kept)
	}
	st := f.s.Retention()
	if len(st) != 2 || st[0].HorizonUS != 0 || st[1].HorizonUS != f.fitUS || st[1].KeepText() != "fit" || st[1].Since {
		t.Errorf("%+v, want a horizon of %d", st, f.fitUS)
	}
	if sp := must(f.s.Space(t.Context())); !sp.FullAt.IsZero() {
		t.Errorf("%+v: the disk is said to fill up", sp)
	}
	follows := must(f.s.CountLinks(t.Context(), "did:plc:222222222222222222222222",
		db.Source{Collection: "app.bsky.graph.follow", Path: "subject"}))
	if follows == 0 {
		t.Error("links that are kept for ever are gone")
	}

	before := f.fitUS
	f.cfg.Budget = f.budget(550 << 10)
	f.open(fitRules, f.times)
	for range 8 {
		f.look()
	}
	if bytes := bytesIn(t, f.cfg.Dir); bytes > f.cfg.Budget.Bytes || f.fitUS == before || f.s.Paused() != "" {
		t.Errorf("%d bytes of a smaller budget of %d, the horizon moved by %d, paused %q", bytes, f.cfg.Budget.Bytes,
			f.fitUS-before, f.s.Paused())
	}
	f.batch(400)
	f.compare(100)

	rules := f.times
	f.open("*=forever", map[string]time.Duration{"*": 0})
	f.compare(100)
	f.open(fitRules, rules)
	if us := f.s.FitUS(); us != f.fitUS {
		t.Errorf("the horizon of the rules is %d when they come back, and was %d", us, f.fitUS)
	}
}

// TestFitCannot: where other files or other rules have taken the budget, all links of rules with fit but the newest go.
// Compactions give their space back although it is beyond the budget, and indexing pauses until there is room.
func TestFitCannot(t *testing.T) {
	t.Parallel()
	f := newFitting(t, 1<<20)
	for range 20 {
		f.batch(400)
	}
	before := must(f.s.Stats(t.Context())).Links
	other := filepath.Join(f.cfg.Dir, "other")
	if err := os.WriteFile(other, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.look()
	}
	if kept := f.s.LogClock() - f.fitUS; kept > (8 * time.Minute).Microseconds() {
		t.Errorf("%d microseconds are kept", kept)
	}
	if after := must(f.s.Stats(t.Context())).Links; after >= before/2 {
		t.Errorf("compactions have left %d links of %d", after, before)
	}
	f.s.Hurry() // a pause ends Apply
	like := f.like(1, "https://example.com/")
	if _, err := f.s.Apply(db.Batch{Host: "test", Events: []apply.Event{like}}); !errors.Is(err, db.ErrPaused) {
		t.Errorf("a budget without room: %v", err)
	}
	if why := f.s.Degraded(); !strings.Contains(why, "the budget (--disk) of ") {
		t.Errorf("degraded %q", why)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	f.open(fitRules, f.times)
	f.batch(400)
	f.compare(100)
}

// TestFitLooksAnew: files that have gone since the last look at the budget move no horizon.
func TestFitLooksAnew(t *testing.T) {
	t.Parallel()
	f := newFitting(t, 2<<20)
	f.batch(400)
	f.clock.Add(3) // longer than the size of the files is believed
	other := filepath.Join(f.cfg.Dir, "other")
	if err := os.WriteFile(other, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f.apply(f.like(1, "https://example.com/"))
	if sp := must(f.s.Space(t.Context())); sp.Free-sp.Reserve > sp.Budget*9/64 {
		t.Fatalf("%+v: there is room", sp)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := f.s.PruneTick(); err != nil {
		t.Fatal(err)
	}
	if us := f.s.FitUS(); us != f.fitUS {
		t.Errorf("the horizon has moved from %d to %d", f.fitUS, us)
	}
}

// TestFitScratch: the copy of weft.db that a verification of the replica makes moves no horizon, because its room is
// kept before and after.
func TestFitScratch(t *testing.T) {
	t.Parallel()
	f := newFitting(t, 600<<10)
	f.cfg.Scratch = filepath.Join(f.cfg.Dir, "verify")
	f.open(fitRules, f.times)
	for range 50 {
		f.batch(400)
	}
	if f.fitUS == 0 {
		t.Fatal("all links fit the budget")
	}
	for us := int64(-1); us != f.fitUS; { // until nothing is due
		us = f.fitUS
		f.look()
	}
	for range 20 { // until all pages of weft.db that were free for ten ticks are returned to the disk
		f.look()
	}
	before := must(f.s.Space(t.Context()))
	info := must(os.Stat(filepath.Join(f.cfg.Dir, "weft.db")))
	if err := os.MkdirAll(f.cfg.Scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.cfg.Scratch, "copy"), make([]byte, info.Size()), 0o600); err != nil {
		t.Fatal(err)
	}
	us := f.fitUS
	f.clock.Add(3) // longer than the size of the files is believed
	if err := f.s.PruneTick(); err != nil {
		t.Fatal(err)
	}
	if f.s.FitUS() != us {
		t.Errorf("the horizon has moved from %d to %d", us, f.s.FitUS())
	}
	if sp := must(f.s.Space(t.Context())); sp.Free != before.Free {
		t.Errorf("free: %d bytes, and %d with the copy", before.Free, sp.Free)
	}
	f.compare(100)
}

// TestFitHeld: segments that a compaction has replaced and that a query still reads move no horizon.
func TestFitHeld(t *testing.T) {
	t.Parallel()
	f := newFitting(t, 600<<10)
	for range 30 {
		f.batch(400)
	}
	for us := int64(-1); us != f.fitUS; { // until nothing is due
		us = f.fitUS
		f.look()
	}
	var pairs []db.Pair
	for n := range 300 {
		pairs = append(pairs, db.Pair{Target: fmt.Sprintf("https://%d.example/", n),
			Source: db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}})
	}
	us, held := f.fitUS, int64(0)
	_, err := f.s.Counts(t.Context(), pairs, func() error {
		if held > 0 {
			return nil
		}
		before := bytesIn(t, filepath.Join(f.cfg.Dir, "segments"))
		if _, err := f.s.Compact(t.Context(), func(int64, int64) {}); err != nil {
			return err
		}
		held = bytesIn(t, filepath.Join(f.cfg.Dir, "segments")) - before
		f.clock.Add(3) // longer than the size of the files is believed
		return f.s.PruneTick()
	})
	if err != nil || held <= 0 {
		t.Fatalf("%v; the query holds %d bytes", err, held)
	}
	if f.s.FitUS() != us {
		t.Errorf("the horizon has moved from %d to %d for %d bytes that a query holds", us, f.s.FitUS(), held)
	}
}
