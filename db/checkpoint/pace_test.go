package checkpoint_test

import (
	"testing"
	"time"

	"weft.dev/weft/db/checkpoint"
)

// TestPace: what is put off is tried again after a second, and each time after twice as long, up to a minute.
func TestPace(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_770_000_000, 0)
	rule, err := checkpoint.Parse("10 frames | 5m")
	if err != nil {
		t.Fatal(err)
	}
	p := checkpoint.NewPace(rule, start)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	if p.Due(9, at(299)) || !p.Due(10, at(0)) || !p.Due(1, at(300)) {
		t.Error("it isn't due as the rule says")
	}
	if p.Due(0, at(100_000)) {
		t.Error("an empty WAL is due")
	}
	now := start
	for i, want := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		delay := p.PutOff(now)
		next := now.Add(time.Duration(want) * time.Second)
		if delay != next.Sub(now) || p.Due(1000, next.Add(-1)) || !p.Due(1000, next) {
			t.Errorf("put off for time %d, it isn't due after %d s", i+1, want)
		}
		now = next
	}
	p.Completed(now)
	if !p.Due(10, now) || p.Due(9, now.Add(299*time.Second)) || !p.Due(9, now.Add(300*time.Second)) {
		t.Error("after a complete one it isn't due as the rule says")
	}
	if p.PutOff(now); !p.Due(10, now.Add(time.Second)) {
		t.Error("a complete one doesn't end the delays")
	}
}
