package ingest_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// short is Config.Silence of these tests. Sessions must last much longer.
const short = 600 * time.Millisecond

// bubble runs a test on a clock of its own, which goes on when all wait: silence takes no time, and a busy machine
// makes none. The servers are those of newStream.
func bubble(t *testing.T, do func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(26 * 365 * 24 * time.Hour) // bubbles begin in 2000, when a time in microseconds still had 15 digits
		do(t)
	})
}

func kinds(t *testing.T, do func(t *testing.T, v2 bool)) {
	for name, v2 := range map[string]bool{"v1": false, "v2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) { do(t, v2) })
		})
	}
}

func sliceOf(t *testing.T, accounts ...int) *ingest.Slice {
	t.Helper()
	var c ingest.SliceConfig
	for _, n := range accounts {
		c.DIDs = append(c.DIDs, didOf(n))
	}
	s, err := ingest.NewSlice(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func links(t *testing.T, store *db.Store) int64 {
	t.Helper()
	st, err := store.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.Links
}

func gapsOf(t *testing.T, store *db.Store) []db.Gap {
	t.Helper()
	gaps, err := store.Gaps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return gaps
}

// TestQuietUpstream: an upstream without events stays followed and ready, by one connection, and its first event is
// indexed.
func TestQuietUpstream(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		slice []int
		busy  bool // other accounts write
		had   bool // it had an event
	}{
		{name: "of a few accounts", slice: []int{1}},
		{name: "of a few accounts that have written", slice: []int{1}, had: true},
		{name: "of a few accounts among others", slice: []int{1}, busy: true},
		{name: "of a small network"},
		{name: "of a small network that has written", had: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kinds(t, func(t *testing.T, v2 bool) {
				server := newStream(t, &stream{v2: v2})
				store := openStore(t, t.TempDir())
				defer store.Close()
				f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store,
					Slice:   sliceOf(t, tc.slice...),
					Silence: short})
				defer f.stop()
				want := int64(1)
				if tc.had {
					until(t, "it follows", func() bool { _, all, _ := server.counts(); return all > 0 })
					server.send(1, time.Now())
					until(t, "the event is there", func() bool { return links(t, store) == 1 })
					want++
				}
				until(t, "it is ready", func() bool { return f.Ready() == nil })
				_, before, begun := server.counts()
				until(t, "a long time has passed", func() bool {
					if err := f.Ready(); err != nil {
						t.Fatal(err)
					}
					if tc.busy {
						server.send(2, time.Now())
					}
					_, _, pings := server.counts()
					return pings > begun+24
				})
				filtered, all, _ := server.counts()
				if len(tc.slice) > 0 && filtered != 1 || all-before > 8 {
					t.Errorf("%d subscriptions of the slice, %d in all", filtered, all)
				}
				if lag := f.Lag(); (tc.had || len(tc.slice) > 0) && lag > 50*short {
					t.Errorf("the lag is %s", lag)
				}
				server.send(1, time.Now())
				until(t, "what comes at last is there", func() bool { return links(t, store) == want })
				if gaps := gapsOf(t, store); len(gaps) > 0 {
					t.Errorf("gaps: %+v", gaps)
				}
			})
		})
	}
}

// TestSlowUpstream: weft commits the events of a slow stream within a quarter of a second. A batch that waits for more
// events would take an hour.
func TestSlowUpstream(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, v2 bool) {
		server := newStream(t, &stream{v2: v2})
		store := openStore(t, t.TempDir())
		defer store.Close()
		f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store, BatchAge: time.Hour})
		defer f.stop()
		until(t, "it follows", func() bool { _, all, _ := server.counts(); return all > 0 })
		for n := range int64(50) {
			server.send(1, time.Now())
			if n%10 != 9 { // they gather in the socket
				time.Sleep(10 * time.Millisecond)
				continue
			}
			time.Sleep(250 * time.Millisecond)
			synctest.Wait()
			if got := links(t, store); got != n+1 {
				t.Fatalf("%d links of %d events", got, n+1)
			}
		}
	})
}

// TestMuteUpstream: a session without answers to its pings ends.
func TestMuteUpstream(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		server := newStream(t, &stream{mute: true})
		store := openStore(t, t.TempDir())
		defer store.Close()
		f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store, Slice: sliceOf(t, 1),
			Silence: short})
		defer f.stop()
		until(t, "it is connected to anew", func() bool { filtered, _, _ := server.counts(); return filtered > 2 })
	})
}

// TestStuckUpstream: failover from a host without events to a host with some, also with a filter.
func TestStuckUpstream(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		stuck, other := newStream(t, &stream{}), newStream(t, &stream{})
		store := openStore(t, t.TempDir())
		defer store.Close()
		f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: stuck.URL}, {URL: other.URL}}, Store: store,
			Slice: sliceOf(t, 1), Silence: short,
			Failback: time.Hour})
		defer f.stop()
		until(t, "the first is followed", func() bool { return f.Ready() == nil })
		until(t, "the other is moved to", func() bool {
			other.send(2, time.Now())
			return f.Host() == other.URL &&
				f.Ready() == nil
		})
		other.send(1, time.Now())
		until(t, "its event is there", func() bool { return links(t, store) == 1 })
	})
}

// TestBeginning: events between sessions aren't lost before the first event either, also over restarts.
func TestBeginning(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, v2 bool) {
		for _, restart := range []bool{false, true} {
			server := newStream(t, &stream{v2: v2})
			server.send(1, time.Now().Add(-time.Hour)) // before the beginning
			store := openStore(t, t.TempDir())
			defer store.Close()
			cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store, Slice: sliceOf(t, 1),
				Silence: short}
			f := follow(t, cfg)
			until(t, "it follows", func() bool { return f.Ready() == nil })
			server.setAway(true)
			until(t, "the session has ended", func() bool { return f.Ready() != nil })
			if restart {
				f.stop()
			}
			server.send(1, time.Now())
			server.setAway(false)
			if restart {
				f = follow(t, cfg)
			}
			until(t, "what came meanwhile is there", func() bool { return links(t, store) == 1 })
			server.send(1, time.Now())
			until(t, "what comes is there", func() bool { return links(t, store) == 2 })
			if gaps := gapsOf(t, store); len(gaps) > 0 {
				t.Errorf("gaps: %+v", gaps)
			}
			f.stop()
		}
	})
}

// TestProbe: the protocol of a server is detected, with any answers of a proxy on other paths.
func TestProbe(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 204, 400, 401, 403, 404, 405, 418, 429, 500, 501, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				server := newStream(t, &stream{probe: func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(status)
					if status == 200 {
						fmt.Fprintln(w, "hello, this is a jetstream")
					}
				}})
				server.send(1, time.Now())
				store := openStore(t, t.TempDir())
				defer store.Close()
				f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store,
					From:    ingest.From{Start: true},
					Silence: 10 * short})
				defer f.stop()
				until(t, "its event is there", func() bool { return links(t, store) == 1 })
				if kind := f.Status().Kind; kind != "v1" {
					t.Errorf("it is followed as %s", kind)
				}
			})
		})
	}
}
