package ingest

import (
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest/upstream"
)

// TestBusyBackfill: an archive whose events weft had no room for does not count as silent, though the progress is read
// only after they have room.
func TestBusyBackfill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := New(Config{Hosts: []upstream.Endpoint{{URL: "https://a.example"}}, Store: &stuckStore{}})
		r := &backfill{in: in, h: in.hosts[0], p: &startPoint{}}
		in.progress.p = wire.Replay{Host: r.h.URL, Since: time.Now()}
		push := func() {
			if err := r.push(t.Context(), &batch{seen: 1}); err != nil {
				t.Error(err)
			}
		}
		for range ahead {
			push()
		}
		pushed := make(chan struct{})
		go func() {
			defer close(pushed)
			push()
		}()
		time.Sleep(time.Minute)
		in.queue.done(in.queue.take(t.Context()))
		<-pushed
		in.queue.done(in.queue.take(t.Context())) // the queue is not full
		if p := in.Progress(); p.Waiting != 0 {
			t.Errorf("the archive has been silent for %v s; weft was busy until now", p.Waiting)
		}
		time.Sleep(stalledAfter)
		if p := in.Progress(); p.Waiting != stalledAfter.Seconds() {
			t.Errorf("the archive has been silent for %v s, want %v", p.Waiting, stalledAfter)
		}
	})
}
