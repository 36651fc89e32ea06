package ingest_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
	"weft.dev/weft/ingest/upstream"
)

// defaultEvents are more than the defaultRewind that a start rewinds, so that not every restart in TestReplayedTwice
// reaches the beginning. With another number of -events, a start rewinds as far as weft does.
const defaultEvents, defaultRewind = 5_000, 2048

var (
	events = flag.Int("events", defaultEvents,
		"how many events TestReplayedTwice makes; the figures in docs are of 1,000,000")
	verbose = flag.Bool("log", false, "log what ingest says")
)

// patience bounds each wait of these tests. A slow machine needs far less.
const patience = 2 * time.Minute

func logger(t *testing.T) *slog.Logger {
	if !*verbose {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func serve(t *testing.T, cfg sim.ServerConfig) *sim.Server {
	t.Helper()
	cfg.Logger = logger(t)
	s, err := sim.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestMain lets the heap grow more before a collection, which saves CPU time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// bodies is the mode of record content. It is off by default, because storing it takes a tenth of the tests' CPU time,
// and with -short, as under the race detector, where it takes twenty times as long. Another -events keeps it.
func bodies() db.Bodies {
	if testing.Short() || *events == defaultEvents {
		return db.BodiesOff
	}
	return db.BodiesKeep
}

func openStore(t *testing.T, dir string) *db.Store {
	t.Helper()
	s, err := db.Open(db.Config{Dir: dir, Logger: logger(t), Bodies: bodies()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// follower is a running Ingest.
type follower struct {
	*ingest.Ingest
	stop func() // stops it, and waits for the commit of all events and for the steps of changes of status
}

func follow(t *testing.T, cfg ingest.Config) *follower {
	t.Helper()
	cfg.Logger, cfg.Bodies = logger(t), bodies() != db.BodiesOff
	cfg.Hosts = slices.Clone(cfg.Hosts)
	for i := range cfg.Hosts {
		cfg.Hosts[i].HTTP = pipeClient(t)
	}
	in := ingest.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	stopped := false
	f := &follower{Ingest: in, stop: func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if store, ok := cfg.Store.(interface {
			Stats(context.Context) (db.Stats, error)
		}); ok {
			until(t, "all changes of status are done", func() bool {
				st, err := store.Stats(context.Background())
				return err != nil || st.Jobs == 0 // a test that failed has closed it
			})
		}
	}}
	t.Cleanup(f.stop)
	return f
}

// until polls: the condition depends on other goroutines and a network.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s until %s", patience, what)
		}
	}
}

func untilCaughtUp(t *testing.T, store *db.Store, server *sim.Server) {
	t.Helper()
	until(t, "the index has caught up", func() bool { return store.Cursor(server.URL()) >= server.Tip() })
}

func compare(t *testing.T, store *db.Store, server *sim.Server, retimed bool) {
	t.Helper()
	m, err := truth.Model(server, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Pages grow with the stream: the cost of paging through a list of accounts grows with its square.
	depth := dbtest.Depth{Page: 14 + *events/1000, Retimed: retimed}
	if *events == defaultEvents {
		depth.Every = 5 // keeps go test ./... under five minutes; another -events compares all
	}
	if err := m.Compare(t.Context(), store, depth); err != nil {
		t.Error(err)
	}
	if err := m.CompareBodies(t.Context(), store, func(db.Record) bool { return bodies() == db.BodiesOff }); err != nil {
		t.Error(err)
	}
}

// TestArchiveIntoLive: no event is lost or repeated between the archive and the live stream.
func TestArchiveIntoLive(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{Backlog: 8000, EventsPerSegment: 3000,
		NetworkConfig: sim.NetworkConfig{Accounts: 300, Churn: 5}})
	store := openStore(t, t.TempDir())
	defer store.Close()
	f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
		From: ingest.From{Start: true}})
	untilCaughtUp(t, store, server)
	for range 20 {
		server.Emit(150)
	}
	untilCaughtUp(t, store, server)
	if err := f.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	f.stop()
	if f.Ready() == nil {
		t.Error("ready after the end")
	}
	compare(t, store, server, false)
}

// TestUpstreamMisbehaves: after any fault of the server, the index ends up equal to the server's events.
func TestUpstreamMisbehaves(t *testing.T) {
	t.Parallel()
	for i, tc := range []struct {
		name   string
		faults sim.Faults
		do     func(*sim.Server)
		// It sends earlier events with another time.
		retimes bool
	}{
		{name: "drops connections", faults: sim.Faults{DropEvery: 300}},
		{name: "cuts frames short", faults: sim.Faults{TruncateEvery: 400}},
		{name: "repeats frames", faults: sim.Faults{DuplicateEvery: 3}},
		{name: "sends garbage", faults: sim.Faults{GarbageEvery: 1200}},
		{name: "sends something else instead", faults: sim.Faults{SpoilEvery: 1100}},
		{name: "sends kinds that are not known", faults: sim.Faults{UnknownEvery: 5}},
		{name: "sends error frames", faults: sim.Faults{ErrorEvery: 500}},
		{name: "refuses subscriptions", faults: sim.Faults{RefuseEvery: 2, DropEvery: 700}},
		{name: "limits the rate of subscriptions", faults: sim.Faults{RefuseEvery: 2, RefuseStatus: 429,
			RetryAfter: time.Second, DropEvery: 700}},
		{name: "reorders among accounts and redelivers", faults: sim.Faults{Reorder: 20, RedeliverEvery: 10}},
		{name: "drops all at once", do: func(s *sim.Server) { s.DropAll() }},
		{name: "crashes and redelivers under the same numbers", do: func(s *sim.Server) { s.Crash(100, true) },
			retimes: true},
		{name: "stalls", do: func(s *sim.Server) { s.Stall(700 * time.Millisecond) }},
		{name: "loses its archive for a while", do: func(s *sim.Server) { s.FailArchive(5, 500) }},
		{name: "jumps into the future", do: func(s *sim.Server) { s.JumpFuture(24 * time.Hour) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if *events == defaultEvents && i%2 == 1 {
				t.Skip("with another -events: go test ./... must stay under five minutes on two cores")
			}
			t.Parallel()
			server := serve(t, sim.ServerConfig{Backlog: 1000, EventsPerSegment: 500, Faults: tc.faults,
				NetworkConfig: sim.NetworkConfig{Accounts: 200, Churn: 5, Seed: 7}})
			store := openStore(t, t.TempDir())
			defer store.Close()
			f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
				From:        ingest.From{Start: true},
				BatchEvents: 100, BatchAge: 20 * time.Millisecond, Silence: time.Second})
			for i := range 8 { // every fault of frames occurs within 1,200 live events
				server.Emit(250)
				if i%4 == 2 {
					untilCaughtUp(t, store, server)
					if tc.do != nil {
						tc.do(server)
					}
				}
			}
			server.SetFaults(sim.Faults{})
			server.Emit(1) // the last event must arrive after any fault
			untilCaughtUp(t, store, server)
			f.stop()
			if gaps, err := store.Gaps(t.Context()); err != nil || len(gaps) > 0 {
				t.Errorf("gaps: %v, %v", gaps, err)
			}
			compare(t, store, server, tc.retimes)
		})
	}
}

// TestHoleBecomesGap: a permanently damaged block becomes a recorded gap, and all other events are indexed.
func TestHoleBecomesGap(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{Backlog: 9000, EventsPerSegment: 3000,
		NetworkConfig: sim.NetworkConfig{Accounts: 300}})
	server.CorruptBlock(1, 0)
	store := openStore(t, t.TempDir())
	defer store.Close()
	f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
		From: ingest.From{Start: true}})
	untilCaughtUp(t, store, server)
	f.stop()
	gaps, err := store.Gaps(t.Context())
	if err != nil || len(gaps) != 1 {
		t.Fatalf("gaps: %v, %v", gaps, err)
	}
	g := gaps[0]
	if g.From != 3001 || g.To < g.From || g.Why == "" || g.Host != server.URL() {
		t.Errorf("the gap is %+v", g)
	}
	var m dbtest.Model
	var r truth.Reader
	if err := server.Replay(1, func(e sim.Event) error {
		out, ok, err := r.Event(e)
		if ok && (e.Seq < g.From || e.Seq > g.To) {
			m.Apply(out)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Compare(t.Context(), store, dbtest.Depth{Page: 50}); err != nil {
		t.Error(err)
	}
}

// TestTipBelowCursor: a server that has lost the events up to our cursor is followed again from its tip. Otherwise it
// would be silent for ever.
func TestTipBelowCursor(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{NetworkConfig: sim.NetworkConfig{Accounts: 200}})
	server.Emit(500)
	store := openStore(t, t.TempDir())
	defer store.Close()
	// An earlier process has followed the same host much further.
	if _, err := store.Apply(db.Batch{Host: server.URL(), Seq: 1_000_000, TimeUS: 1}); err != nil {
		t.Fatal(err)
	}
	f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
		Silence: 400 * time.Millisecond,
		Rewind:  100})
	defer f.stop()
	until(t, "the lost events are noticed and new ones indexed", func() bool {
		server.Emit(1)
		st, err := store.Stats(t.Context())
		return err == nil && st.Links > 0
	})
}

// TestFrom: a new index begins at Config.From.
func TestFrom(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		from  func(*testing.T, *sim.Server) ingest.From
		first uint64 // first event to index
	}{
		{"now", func(*testing.T, *sim.Server) ingest.From { return ingest.From{} }, 4001},
		{"start", func(*testing.T, *sim.Server) ingest.From { return ingest.From{Start: true} }, 1},
		{"a sequence number", func(*testing.T, *sim.Server) ingest.From { return ingest.From{Seq: 2500} }, 2500},
		{"a time", func(t *testing.T, s *sim.Server) ingest.From {
			var from ingest.From
			if err := s.Replay(1700, func(e sim.Event) error {
				if from.US == 0 {
					from.US = e.TimeUS
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			return from
		}, 1700},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, sim.ServerConfig{Backlog: 4000, EventsPerSegment: 1000,
				NetworkConfig: sim.NetworkConfig{Accounts: 200}})
			store := openStore(t, t.TempDir())
			defer store.Close()
			f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
				From: tc.from(t, server)})
			until(t, "it follows", func() bool { return server.Subscribers() > 0 })
			server.Emit(100)
			untilCaughtUp(t, store, server)
			f.stop()
			m, err := truth.Model(server, tc.first)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Compare(t.Context(), store, dbtest.Depth{Page: 50}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseFrom(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want ingest.From
		ok   bool
	}{
		{"", ingest.From{}, true},
		{"now", ingest.From{}, true},
		{"start", ingest.From{Start: true}, true},
		{"1", ingest.From{Seq: 1}, true},
		{"999999999999999", ingest.From{Seq: 999_999_999_999_999}, true},
		{"1000000000000000", ingest.From{US: 1_000_000_000_000_000}, true},
		{"2026-07-01T00:00:00Z", ingest.From{US: 1_782_864_000_000_000}, true},
		{"2026-07-01", ingest.From{US: 1_782_864_000_000_000}, true},
		{"0", ingest.From{}, false},
		{"-1", ingest.From{}, false},
		{"yesterday", ingest.From{}, false},
		{"1e9", ingest.From{}, false},
		{"1960-01-01T00:00:00Z", ingest.From{}, false},
	} {
		if got, err := ingest.ParseFrom(tc.in); got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%q: %+v, %v", tc.in, got, err)
		}
	}
}

// TestReplayedTwice indexes a stream twice, with random restarts, and compares every list with the model. With -events
// 1000000 it gives the figures in the documents:
//
//	go test ./ingest -run ReplayedTwice -events 1000000 -v -timeout 30m
func TestReplayedTwice(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	server := serve(t, sim.ServerConfig{Backlog: *events * 9 / 10, EventsPerSegment: max(*events/10, 2000),
		NetworkConfig: sim.NetworkConfig{Accounts: max(*events/20, 500)}})
	server.Emit(*events / 10) // not in the archive
	dir, tip := t.TempDir(), server.Tip()
	for pass := range 2 {
		var took time.Duration
		var wal, links int64
		starts := 0
		for done := false; !done; starts++ {
			begun, store := time.Now(), openStore(t, dir)
			cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store, From: ingest.From{Start: true}}
			if *events == defaultEvents {
				cfg.Rewind = defaultRewind
			}
			stopAt := store.Cursor(server.URL()) + r.Uint64N(tip/3)
			if pass == 1 {
				cfg.Store, cfg.Rewind = replayAll{store}, ^uint64(0) // all events arrive again
				stopAt = r.Uint64N(tip)
			}
			if stopAt >= tip || starts == 4 {
				stopAt, done = tip, true
			}
			f := follow(t, cfg)
			until(t, "a restart is due", func() bool { return f.Seen() >= stopAt })
			f.stop()
			took += time.Since(begun)
			wal += store.WALBytes()
			if done {
				st, err := store.Stats(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				links = st.Links
				compare(t, store, server, false)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("pass %d: %d events with %d starts in %s: %.0f events/s; %d links; %d bytes of WAL, %.1f per link", pass+1,
			*events,
			starts, took.Round(time.Millisecond), float64(*events)/took.Seconds(), links, wal,
			float64(wal)/float64(max(links, 1)))
	}
}

// replayAll makes each session begin at the start, with any cursor of the store.
type replayAll struct{ *db.Store }

func (s replayAll) Cursor(host string) uint64 { return min(s.Store.Cursor(host), 1) }

// slow is a store with a slow disk.
type slow struct{ *db.Store }

func (s slow) Apply(b db.Batch) (apply.Counts, error) {
	time.Sleep(600 * time.Millisecond) // as a slow disk
	return s.Store.Apply(b)
}

// TestSlowStoreIsNotSilence: an upstream that waits for the store isn't silent.
func TestSlowStoreIsNotSilence(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{Backlog: 3000, EventsPerSegment: 1000,
		NetworkConfig: sim.NetworkConfig{Accounts: 200}})
	store := openStore(t, t.TempDir())
	defer store.Close()
	f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: slow{store},
		From:        ingest.From{Start: true},
		BatchEvents: 100,
		Silence:     300 * time.Millisecond})
	until(t, "all is committed", func() bool {
		if err := f.Ready(); err != nil && f.Seen() > 0 && f.Seen() < server.Tip() {
			t.Fatalf("not ready while the store is slow: %v", err)
		}
		return store.Cursor(server.URL()) >= server.Tip()
	})
	f.stop()
}
