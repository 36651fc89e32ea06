package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
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

// TestFollowedIsNoGap: the gap of events that a server no longer has begins where the stream was last followed, and
// ends at the server's oldest event.
func TestFollowedIsNoGap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		followed time.Duration // before now
		gap      bool
	}{
		{"followed until now", 0, false},
		{"followed until after the oldest event", 20 * time.Hour, false},
		{"followed until before it", 30 * time.Hour, true},
		{"not noted", 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kinds(t, func(t *testing.T, v2 bool) {
				now := time.Now()
				server := newStream(t, &stream{v2: v2})
				store := openStore(t, t.TempDir())
				defer store.Close()
				old := now.Add(-40 * time.Hour)
				server.send(1, old)
				server.send(2, now.Add(-25*time.Hour))
				floor := now.Add(-24 * time.Hour)
				server.send(2, floor)
				server.send(2, now.Add(-time.Hour))
				kind, seq := "v1", uint64(old.UnixMicro())
				if v2 {
					kind, seq = "v2", 100
				}
				if _, err := store.Apply(db.Batch{Host: server.URL, Kind: kind, Seq: seq, TimeUS: old.UnixMicro()}); err != nil {
					t.Fatal(err)
				}
				until := now.Add(-tc.followed)
				if tc.name != "not noted" {
					if err := store.SetFollowed(server.URL, kind, db.Followed{UntilUS: until.UnixMicro()}); err != nil {
						t.Fatal(err)
					}
				}
				server.forget(2)
				f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store, Slice: sliceOf(t, 1),
					Silence: 10 * short,
					Rewind:  1})
				defer f.stop()
				untilReady(t, f)
				gaps := gapsOf(t, store)
				if !tc.gap {
					if len(gaps) > 0 {
						t.Errorf("gaps: %+v", gaps)
					}
					return
				}
				if len(gaps) != 1 {
					t.Fatalf("gaps: %+v", gaps)
				}
				g := gaps[0]
				to, fromUS := uint64(floor.UnixMicro()-1), old.UnixMicro()
				if v2 {
					to = 101
				}
				if tc.followed > 0 {
					fromUS = until.Add(-5 * time.Minute).UnixMicro() // less the tolerance of the clocks
				}
				if g.To != to || g.ToUS != floor.UnixMicro() || g.FromUS != fromUS {
					t.Errorf("the gap is %+v, want it from time %d to %d", g, fromUS, to)
				}
			})
		})
	}
}

func untilReady(t *testing.T, f *follower) {
	t.Helper()
	until(t, "it is ready", func() bool { return f.Ready() == nil })
}

// TestFollowedIsNoted: the followed time of a quiet stream is stored, and once more at the end.
func TestFollowedIsNoted(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		server := newStream(t, &stream{})
		server.send(1, time.Now())
		store := openStore(t, t.TempDir())
		defer store.Close()
		begun := time.Now().UnixMicro()
		f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store,
			From:  ingest.From{Start: true},
			Slice: sliceOf(t, 1), Silence: short})
		until(t, "the event is there", func() bool { return links(t, store) == 1 })
		until(t, "it is noted", func() bool { return store.Followed(server.URL).UntilUS > begun+(10*short).Microseconds() })
		noted := store.Followed(server.URL).UntilUS
		_, _, pings := server.counts()
		until(t, "it is followed for longer", func() bool { _, _, n := server.counts(); return n > pings+4 })
		f.stop()
		if until := store.Followed(server.URL).UntilUS; until <= noted || until > time.Now().UnixMicro() {
			t.Errorf("it is noted until %d, and was until %d", until, noted)
		}
	})
}

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

// log is a log that is safe for concurrent use.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestPasswords: a user name and a password are sent as configured, and are in no status, gap, log or cursor.
func TestPasswords(t *testing.T) {
	t.Parallel()
	const user, password = "Me", "SecReT"
	server := newStream(t, &stream{})
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
	server.send(1, time.Now().Add(-30*time.Hour))
	store := openStore(t, t.TempDir())
	defer store.Close()
	var said log
	address := strings.Replace(server.URL, "http://", "ws://"+user+":"+password+"@", 1) + "/subscribe"
	endpoint := must(upstream.ParseAddress(address)).Endpoint
	endpoint.HTTP = pipeClient(t)
	in := ingest.New(ingest.Config{Hosts: []upstream.Endpoint{endpoint},
		Store: store, From: ingest.From{Start: true}, Silence: short,
		Logger: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	until(t, "its event is there", func() bool { return links(t, store) == 1 })
	server.setAway(true)
	until(t, "the session has ended", func() bool { return in.Ready() != nil })
	server.send(1, time.Now())
	server.forget(1)
	server.setAway(false)
	until(t, "the next one is there, behind a gap", func() bool {
		return links(t, store) == 2 &&
			len(gapsOf(t, store)) == 1
	})
	cancel()
	if err := errors.Join(<-done, store.Close()); err != nil {
		t.Fatal(err)
	}
	if store.Cursor(server.URL) == 0 {
		t.Errorf("the cursor isn't kept under %s", server.URL)
	}
	for what, text := range map[string]string{"the status": fmt.Sprintf("%+v", in.Status()), "the log": said.String()} {
		if strings.Contains(text, password) || strings.Contains(text, user+":") || !strings.Contains(text, server.URL) {
			t.Errorf("%s: %s", what, text)
		}
	}
}
