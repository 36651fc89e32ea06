package db_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
)

// windowed is a store whose log has a window, and what came of each of its rows.
type windowed struct {
	*history
	t      *testing.T
	cfg    db.Config
	s      *db.Store
	clock  atomic.Int64 // microseconds since 1970
	model  dbtest.Model
	rows   []db.LogEntry // all that there were, from row 1
	at     []int64       // the log's clock before the batch of each
	before int64         // the log's clock before the batch
	oldest uint64
	early  time.Duration // how much too early a row may go
}

func newWindowed(t *testing.T, seed uint64, window time.Duration) *windowed {
	w := &windowed{t: t, history: newHistory(seed), oldest: 1}
	w.clock.Store(w.now + 400*24*3600*1_000_000)
	w.cfg = db.Config{Dir: t.TempDir(), SealBytes: 8 << 10, CacheBytes: 1 << 16, ReplayWindow: window,
		Bodies:     db.Bodies(seed % 3),
		JobRecords: 2, JobRest: -1, Now: func() time.Time { return time.UnixMicro(w.clock.Load()) }}
	w.s = openWith(t, w.cfg)
	t.Cleanup(func() { _ = w.s.Close() })
	return w
}

// apply applies events, and notes their rows.
func (w *windowed) apply(events []apply.Event) {
	w.t.Helper()
	for _, e := range events {
		w.model.Apply(e)
	}
	w.before = w.s.LogClock()
	if _, err := w.s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
		w.t.Fatal(err)
	}
	untilNoJobs(w.t, w.s)
	w.note()
}

// note notes rows that came, and holds what is there against the window.
func (w *windowed) note() {
	w.t.Helper()
	for after := uint64(len(w.rows)); after < w.s.Seq(); after = uint64(len(w.rows)) {
		entries, last, err := w.s.Log(w.t.Context(), after, 1000)
		if err != nil || last == after {
			w.t.Fatalf("rows after %d: %v", after, err)
		}
		for range last - after {
			w.at = append(w.at, w.before)
		}
		w.rows = append(w.rows, make([]db.LogEntry, last-after)...)
		for _, e := range entries {
			w.rows[e.Seq-1] = e
		}
	}
	oldest, newest := must2(w.s.LogRange(w.t.Context()))
	if newest == 0 && len(w.rows) == 0 {
		return
	}
	if newest != uint64(len(w.rows)) || oldest < w.oldest {
		w.t.Fatalf("the log has rows %d to %d, and had %d to %d", oldest, newest, w.oldest, len(w.rows))
	}
	went := oldest > w.oldest
	w.oldest = oldest
	if went {
		if age := time.Duration(w.s.LogClock()-w.at[oldest-2]) * time.Microsecond; age < w.cfg.ReplayWindow-w.early {
			w.t.Fatalf("row %d went after %s, and the window is %s", oldest-1, age, w.cfg.ReplayWindow)
		}
	}
}

// read reads the log from a row within the window: all is there, as it was.
func (w *windowed) read() {
	w.t.Helper()
	after := w.oldest - 1 + uint64(w.r.IntN(len(w.rows)-int(w.oldest)+2))
	for seq := after; seq < uint64(len(w.rows)); {
		entries, last, err := w.s.Log(w.t.Context(), seq, 1+w.r.IntN(50))
		if err != nil {
			w.t.Fatalf("rows after %d: %v", seq, err)
		}
		for _, e := range entries {
			if was := w.rows[e.Seq-1]; fmt.Sprint(e) != fmt.Sprint(was) {
				w.t.Fatalf("row %d is %+v, and was %+v", e.Seq, e, was)
			}
		}
		seq = last
	}
}

// idle lets minutes pass without events.
func (w *windowed) idle(minutes int) {
	w.t.Helper()
	for range minutes {
		w.clock.Add(60 * 1_000_000)
		w.tick()
	}
}

// tick is a tick of the pruning, after the seal that the tick before may have begun.
func (w *windowed) tick() {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); w.s.Sealing(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("a seal doesn't end")
		}
	}
	if err := w.s.PruneTick(); err != nil {
		w.t.Fatal(err)
	}
	w.note()
}

// TestLogWindow: over random histories, backfills, quiet times, clocks that step and restarts, the log always reaches
// back as far as its window, no further when it is quiet for minutes, and has every row as it was; the index is the
// model's.
func TestLogWindow(t *testing.T) {
	t.Parallel()
	for seed := range seeds(9) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			window := []time.Duration{12 * time.Minute, time.Hour, 24 * time.Hour}[seed/3%3]
			w := newWindowed(t, seed, window)
			for step := range 40 / fraction(2) {
				pace := pick(w.r, int64(0), window.Microseconds()/20) // live, or a backfill
				for range w.r.IntN(12) {
					w.now += int64(w.r.IntN(int(pace) + 1))
					w.apply(w.next())
					w.clock.Add(int64(w.r.IntN(20_000_000)))
					if w.r.IntN(20) == 0 {
						w.tick()
					}
				}
				switch w.r.IntN(8) {
				case 0:
					w.idle(w.r.IntN(30))
				case 1:
					w.clock.Add(int64(w.r.IntN(7_200_000_000)) - 3_600_000_000)
					w.early = time.Minute // a start after a step back knows no better
				case 2, 3:
					if err := w.s.Close(); err != nil {
						t.Fatal(err)
					}
					w.s = openWith(t, w.cfg)
				}
				if len(w.rows) > 0 {
					w.read()
				}
				if step%8 == 7 {
					if err := w.model.Compare(t.Context(), w.s, sampled(3)); err != nil {
						t.Fatal(err)
					}
				}
			}
			w.endResyncs()
			w.idle(int(window.Minutes()) + 6)
			if w.oldest != w.s.Seq() {
				t.Errorf("after a quiet time, rows %d to %d are left", w.oldest, w.s.Seq())
			}
			if err := w.model.Compare(t.Context(), w.s, sampled(3)); err != nil {
				t.Error(err)
			}
			compareBodies(t, &w.model, w.s, w.cfg)
			if err := w.s.Close(); err != nil {
				t.Fatal(err)
			}
			checkAll(t, w.cfg.Dir)
		})
	}
}

// endResyncs ends what holds rows of the log: the newest event is past the idle time of each resync.
func (w *windowed) endResyncs() {
	w.now += 62_000_000
	w.apply([]apply.Event{w.recordEvent(w.dids[0], db.OpCreate)})
	w.now += 62_000_000
	w.apply([]apply.Event{w.recordEvent(w.dids[0], db.OpUpdate)})
}

// TestBackfillPrunes: a backfill of weeks while our clock hardly moves keeps a window of its events, and one seal.
func TestBackfillPrunes(t *testing.T) {
	t.Parallel()
	const perHour = 500
	w := newWindowed(t, 0, 24*time.Hour)
	w.cfg.SealBytes = 256 << 10 // some 2,500 rows
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.s = openWith(t, w.cfg)
	most := uint64(0)
	for hour := range (10 * 24) / fraction(3) {
		var events []apply.Event
		for i := range perHour {
			w.now += 3600 * 1_000_000 / perHour
			w.rev = uint64(w.now) << 10
			e := w.event(w.dids[i%len(w.dids)], db.OpCreate)
			e.Collection, e.Rkey = "app.bsky.feed.like", w.tid(w.now)
			e.Links = []db.Link{{Path: "subject.uri", Target: fmt.Sprintf("https://example.com/%d", i)}}
			events = append(events, e)
		}
		if _, err := w.s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(1000)
		oldest, newest := must2(w.s.LogRange(t.Context()))
		if newest < uint64(min(hour+1, 24)*perHour) || newest-oldest+1 < uint64(min(hour+1, 24)*perHour) {
			t.Fatalf("hour %d: rows %d to %d are not a window of 24 hours", hour, oldest, newest)
		}
		most = max(most, newest-oldest)
	}
	// The window, a seal that is written and one that gathers, and the rows between two marks.
	if limit := uint64(24*perHour + 3*2500 + 4096 + perHour); most > limit {
		t.Errorf("the log held %d rows, more than %d", most, limit)
	}
}

// TestDedupAfterPrune: after a start with a log that has a filled gap's old row alone, a repeat of what was deleted and
// pruned since brings nothing back.
func TestDedupAfterPrune(t *testing.T) {
	t.Parallel()
	w := newWindowed(t, 0, 15*time.Minute)
	event := func(did string, op db.Op, at int64) apply.Event {
		was := w.now
		w.now = at
		defer func() { w.now = max(was, at) }()
		w.rev = uint64(at) << 10
		e := w.event(did, op)
		e.Collection, e.Rkey = "app.bsky.feed.like", "self"
		if op != db.OpDelete {
			e.Links = []db.Link{{Path: "subject.uri", Target: "https://example.com/"}}
		}
		return e
	}
	const minute = 60_000_000
	began := w.now
	created := event(w.dids[0], db.OpCreate, began)
	w.apply([]apply.Event{created, event(w.dids[0], db.OpDelete, began+minute)})
	w.apply([]apply.Event{event(w.dids[1], db.OpCreate, began+20*minute)})
	w.idle(4)
	if _, err := w.s.Fill([]apply.Event{event(w.dids[2], db.OpCreate, began-10*24*60*minute)}, nil); err != nil {
		t.Fatal(err)
	}
	w.before = w.s.LogClock()
	w.note()
	w.idle(25)
	if oldest, newest := must2(w.s.LogRange(t.Context())); oldest != 4 || newest != 4 {
		t.Fatalf("the log has rows %d to %d", oldest, newest)
	}
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.s = openWith(t, w.cfg)
	applied, err := w.s.Apply(db.Batch{Host: "test", Events: []apply.Event{created}})
	if err != nil || applied.Changed != 0 {
		t.Errorf("the repeat: %+v, %v", applied, err)
	}
}

// TestPruneTogether: commits of a row each delete old rows a few at a time, not a row in each commit. So they do with a
// window that is shorter than the age at which rows are sealed.
func TestPruneTogether(t *testing.T) {
	t.Parallel()
	const share = 10 // rows between two deletions
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	cfg := small(t.TempDir(), &clock)
	cfg.SealBytes = share * 48 << 10
	cfg.ReplayWindow = time.Minute
	commit, deleted := 0, []int{}
	cfg.Failpoint = func(step string) error {
		if step == "prune" {
			deleted = append(deleted, commit)
		}
		return nil
	}
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	h := newHistory(1)
	commits := func(n int) {
		for range n {
			commit++
			e := h.recordEvent(h.dids[0], db.OpCreate)
			e.TimeUS, e.Rkey = clock.Load()*1_000_000, fmt.Sprintf("k%d", commit)
			e.Links = []db.Link{{Path: "subject", Target: "https://example.com/"}}
			if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
				t.Fatal(err)
			}
			clock.Add(30)
		}
	}
	commits(30 * share)
	quiet(t, s, &clock, 1) // begins a seal
	for s.Sealing() {
		time.Sleep(time.Millisecond)
	}
	commits(5 * share)
	if len(deleted) < 4 || len(deleted) > 6 {
		t.Fatalf("rows were deleted %d times in %d commits", len(deleted), 5*share)
	}
	for i, at := range deleted[1:] {
		if at-deleted[i] < share {
			t.Errorf("commit %d deleted rows, and commit %d", deleted[i], at)
		}
	}
	oldest, newest := must2(s.LogRange(t.Context()))
	if most := uint64(30*share + 5*share - 4*(share+share/8)); newest-oldest >= most {
		t.Errorf("the log has %d rows, and must have fewer than %d", newest-oldest+1, most)
	}
}
