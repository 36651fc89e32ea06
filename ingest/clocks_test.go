package ingest_test

import (
	"fmt"
	"testing"
	"time"

	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// TestTimeOfTheFuture: after an event with a time in the future, the stream resumes where it was.
func TestTimeOfTheFuture(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			t.Parallel()
			kinds(t, func(t *testing.T, v2 bool) {
				server := newStream(t, &stream{v2: v2})
				store := openStore(t, t.TempDir())
				defer store.Close()
				cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store, Silence: short}
				server.send(1, time.Now())
				cfg.From.Start = !v2 // there is no archive
				f := follow(t, cfg)
				until(t, "it follows", func() bool { _, all, _ := server.counts(); return all > 0 })
				want := links(t, store)
				if !v2 {
					want = 1
				}
				server.send(2, time.Now())
				server.send(3, time.Now().Add(24*time.Hour))
				want += 2
				until(t, "they are there", func() bool { return links(t, store) >= want })
				if lag := f.Lag(); lag > patience {
					t.Errorf("the lag is %s", lag)
				}
				server.setAway(true)
				until(t, "the session has ended", func() bool { return f.Ready() != nil })
				if restart {
					f.stop()
				}
				server.send(4, time.Now())
				server.setAway(false)
				if restart {
					f = follow(t, cfg)
				}
				until(t, "what came meanwhile is there", func() bool { return links(t, store) == want+1 })
				server.send(5, time.Now())
				until(t, "what comes is there", func() bool { return links(t, store) == want+2 })
				if gaps := gapsOf(t, store); len(gaps) > 0 {
					t.Errorf("gaps: %+v", gaps)
				}
				f.stop()
			})
		})
	}
}

// TestClockAhead: after a session with a host whose clock is minutes ahead, events between sessions are still indexed.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	const ahead = 7 * time.Minute
	kinds(t, func(t *testing.T, v2 bool) {
		a, b := newStream(t, &stream{v2: v2}), newStream(t, &stream{})
		store := openStore(t, t.TempDir())
		defer store.Close()
		send := func(n int) {
			a.send(n, time.Now())
			b.send(n, time.Now().Add(ahead))
		}
		a.send(9, time.Now().Add(-time.Hour))
		b.send(9, time.Now().Add(ahead-time.Hour))
		f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: a.URL}, {URL: b.URL}}, Store: store, Silence: 5 * short,
			Failback: time.Hour})
		until(t, "the first is followed", func() bool { _, all, _ := a.counts(); return all > 0 })
		send(1)
		until(t, "its event is there", func() bool { return links(t, store) >= 1 })
		a.setAway(true)
		send(2)
		until(t, "the second is followed", func() bool { return f.Host() == b.URL })
		until(t, "its event is there", func() bool { return links(t, store) == 2 })
		b.setAway(true)
		send(3)
		a.setAway(false)
		until(t, "the first is gone back to, and has what came meanwhile", func() bool { return links(t, store) == 3 })
		send(4)
		until(t, "what comes is there", func() bool { return links(t, store) == 4 })
		f.stop()
		if gaps := gapsOf(t, store); len(gaps) > 0 {
			t.Errorf("gaps: %+v", gaps)
		}
	})
}
