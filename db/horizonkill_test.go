package db_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
)

// TestHorizonKilled kills a store in a step of the horizon, and again as it opens. The horizon afterwards is never
// older, and the answers are the model's.
func TestHorizonKilled(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	k := newKeeping(t, db.Config{SealBytes: 16 << 10, Failpoint: func(name string) error {
		if name == "horizon" && armed.Load() {
			return errKilled
		}
		return nil
	}}, "*=1h", map[string]time.Duration{"*": time.Hour})
	killed := 0 // as it opened
	for round := range 4 {
		for n := range 15 {
			e := k.like(n, "https://example.com/")
			e.Rkey = newHistory(0).tid(e.TimeUS)
			k.apply(e)
			k.after(6 * time.Minute)
		}
		before := k.s.Retention()[0].HorizonUS
		armed.Store(true)
		var err error
		for n := 0; err == nil && n < 5; n++ {
			k.clock.Add(120)
			err = k.s.PruneTick()
		}
		if !errors.Is(err, errKilled) || k.s.Retention()[0].HorizonUS != before {
			t.Fatalf("round %d: %v, the horizon moved from %d to %d", round, err, before, k.s.Retention()[0].HorizonUS)
		}
		k.compare(10)
		next := copyOf(t, k.cfg)
		_ = k.s.Close()
		k.cfg.Dir = next.Dir
		k.clock.Add(600)
		s, err := db.Open(k.cfg)
		switch {
		case errors.Is(err, errKilled):
			killed++
		case err != nil:
			t.Fatal(err)
		default: // the log's clock is as of its last mark, at which no step was due
			_ = s.Close()
		}
		armed.Store(false)
		k.s = nil
		k.open("*=1h", k.times)
		if us := k.s.Retention()[0].HorizonUS; us < before {
			t.Errorf("round %d: the horizon was %d, and is %d", round, before, us)
		}
		k.compare(10)
		k.after(10 * time.Minute)
		if us := k.s.Retention()[0].HorizonUS; us <= before {
			t.Errorf("round %d: the horizon stays at %d", round, us)
		}
		k.compare(10)
	}
	if killed == 0 {
		t.Error("no start was killed in a step of the horizon")
	}
}
