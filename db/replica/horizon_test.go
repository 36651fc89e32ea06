package replica

import (
	"fmt"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/link"
)

// TestRestoreKeepsHorizon: what is restored to a moment has a horizon that is no older than the index had then, and
// answers like the model, under the same rules and without rules.
func TestRestoreKeepsHorizon(t *testing.T) {
	t.Parallel()
	const hours = 8
	rules, err := keep.Parse("*=3h")
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]time.Duration{"*": 3 * time.Hour}
	w := newWorld(t, fileConfig(t), 1, 0)
	const begin = 1_760_000_000_000_000
	cfg := db.Config{Dir: w.dir, SealBytes: 4 << 10, CacheBytes: 1 << 16, Checkpoint: off(t), Keep: rules,
		Failpoint: w.step,
		Now:       func() time.Time { return time.UnixMicro(begin + hours*3_600_000_000) }}
	reopen := func() {
		t.Helper()
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		w.store, err = db.Open(cfg) // which moves the horizon
		if err != nil {
			t.Fatal(err)
		}
	}
	horizons := map[uint64]int64{} // by the newest log row
	for hour := range int64(hours) {
		var batch []apply.Event
		for i := range int64(60) {
			w.seq++
			us := begin + hour*3_600_000_000 + i*60_000_000
			tid := string(link.AppendTID(nil, uint64(us)<<10))
			batch = append(batch, apply.Event{Seq: w.seq, TimeUS: us, Op: db.OpCreate, DID: fmt.Sprintf("did:plc:%024d", i%20),
				Collection: "app.bsky.feed.like", Rkey: tid, Rev: tid,
				Links: []db.Link{{Path: "subject.uri", Target: fmt.Sprintf("https://example.com/%d", i%7)}}})
		}
		if _, err := w.store.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
			t.Fatal(err)
		}
		w.events = append(w.events, batch...)
		reopen()
		w.sync()
		st, err := w.store.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		horizons[st.LastSeq] = w.store.Retention()[0].HorizonUS
		w.states = append(w.states, state{len(w.events), st.LastSeq, nextMillisecond()})
	}
	w.stop()
	if last := horizons[w.states[hours-1].log]; last < begin+3*3_600_000_000 {
		t.Fatalf("the horizon has not moved: %d", last)
	}
	for i := 1; i < hours; i += 3 {
		want := w.states[i]
		for _, kept := range []bool{true, false} {
			dir := t.TempDir()
			if _, err := restore.Restore(t.Context(), w.cfg, dir,
				restore.Options{Target: restore.Target{Time: want.at}}); err != nil {
				t.Fatal(err)
			}
			cfg := db.Config{Dir: dir, Now: cfg.Now}
			if kept {
				cfg.Keep = rules
			}
			s, err := db.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var m dbtest.Model
			for _, e := range w.events[:want.events] {
				m.Apply(e)
			}
			got := s.Retention()[0].HorizonUS
			// The log's clock goes on for a minute after the newest event.
			if newest := w.events[want.events-1].TimeUS - 3*3_600_000_000 + 60_000_000; got < horizons[want.log] ||
				got > newest {
				t.Errorf("batch %d, with rules %t: the horizon was %d, and is %d", i, kept, horizons[want.log], got)
			}
			m.Keep(times, got+3*3_600_000_000)
			if err := m.Compare(t.Context(), s, depth(20)); err != nil {
				t.Errorf("batch %d, with rules %t: %v", i, kept, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
