package ingest_test

import (
	"fmt"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
	"weft.dev/weft/ingest/upstream"
)

// pair is two servers of one network with different sequences: the second one's relay sends every tenth event twice.
type pair struct{ a, b *sim.Server }

func servePair(t *testing.T, a, b sim.ServerConfig) pair {
	a.NetworkConfig = sim.NetworkConfig{Accounts: 200, Churn: 5, Seed: 21}
	b.NetworkConfig = a.NetworkConfig
	b.Faults.RedeliverEvery = 10
	return pair{serve(t, a), serve(t, b)}
}

func (p pair) emit(n int) {
	p.a.Emit(n)
	p.b.Emit(n)
}

// away makes a server refuse connections, or accept them again.
func away(s *sim.Server, is bool) {
	if is {
		s.Refuse(1<<30, 503, 0)
		s.DropAll()
		return
	}
	s.Refuse(0, 0, 0)
}

func follows(f *follower, s *sim.Server) func() bool {
	return func() bool { return f.Ready() == nil && f.Host() == s.URL() }
}

// TestFailover fails over between two servers at random moments: counts stay the same, and the index ends up equal to
// both servers.
func TestFailover(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		a, b sim.ServerConfig
		go_  func(pair) // makes the first server fail
		back func(pair)
	}{
		{name: "the first is away", go_: func(p pair) { away(p.a, true) }, back: func(p pair) { away(p.a, false) }},
		{name: "the first is silent", go_: func(p pair) { p.a.Stall(time.Hour) }, back: func(p pair) { p.a.Stall(0) }},
		{name: "the first sends errors", go_: func(p pair) {
			p.a.SetFaults(sim.Faults{RefuseEvery: 1, RefuseStatus: 429, RetryAfter: time.Second})
			p.a.DropAll()
		},
			back: func(p pair) { p.a.SetFaults(sim.Faults{}) }},
		{name: "the second speaks v1", b: sim.ServerConfig{NoV2: true}, go_: func(p pair) { away(p.a, true) },
			back: func(p pair) { away(p.a, false) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := servePair(t, tc.a, tc.b)
			p.emit(1000)
			store := openStore(t, t.TempDir())
			defer store.Close()
			f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: p.a.URL()}, {URL: p.b.URL()}}, Store: store,
				From:        ingest.From{Start: true},
				BatchEvents: 100, BatchAge: 20 * time.Millisecond, Silence: 2 * time.Second, Failback: 200 * time.Millisecond})
			untilCaughtUp(t, store, p.a)
			for range 2 {
				p.emit(300)
				tc.go_(p)
				p.emit(300)
				until(t, "the second is followed", func() bool { p.b.Emit(0); return f.Host() == p.b.URL() })
				until(t, "the second's events are there", func() bool { p.emit(1); return store.Cursor(p.b.URL()) > p.b.Tip()-50 })
				tc.back(p)
				until(t, "the first is gone back to", func() bool { p.emit(1); return follows(f, p.a)() })
				p.emit(100)
				untilCaughtUp(t, store, p.a)
			}
			f.stop()
			if gaps, err := store.Gaps(t.Context()); err != nil || len(gaps) > 0 {
				t.Errorf("gaps: %v, %v", gaps, err)
			}
			compare(t, store, p.a, true)
		})
	}
}

// TestSecondBeginsLater: events that neither server has are a gap, by time, and all others are indexed.
func TestSecondBeginsLater(t *testing.T) {
	t.Parallel()
	p := servePair(t, sim.ServerConfig{}, sim.ServerConfig{NoV2: true, Lookback: 100})
	p.emit(500)
	store := openStore(t, t.TempDir())
	defer store.Close()
	// No silence: a slow machine must not fail over before the first server is away.
	f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: p.a.URL()}, {URL: p.b.URL()}}, Store: store,
		From:        ingest.From{Start: true},
		BatchEvents: 100, BatchAge: 20 * time.Millisecond, Failback: time.Hour})
	untilCaughtUp(t, store, p.a)
	last := store.NewestTime()
	away(p.b, true)
	away(p.a, true)
	p.emit(20_000) // far more than the tolerance of the clocks
	away(p.b, false)
	until(t, "the second is followed", follows(f, p.b))
	until(t, "its events are there", func() bool { p.b.Emit(1); return store.Cursor(p.b.URL()) > uint64(last) })
	f.stop()
	gaps, err := store.Gaps(t.Context())
	if err != nil || len(gaps) != 1 {
		t.Fatalf("gaps: %v, %v", gaps, err)
	}
	if g := gaps[0]; g.FromUS != last || g.From != uint64(last+1) || g.ToUS <= last || g.Host != p.b.URL() {
		t.Errorf("the gap is %+v, behind %d", g, last)
	}
}

// TestCountsAnew: after a reset of a server's sequence, the session resumes by timestamp.
func TestCountsAnew(t *testing.T) {
	t.Parallel()
	for _, k := range []int{5, 400} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			server := serve(t, sim.ServerConfig{NetworkConfig: sim.NetworkConfig{Accounts: 200, Seed: 5}})
			server.Emit(500)
			store := openStore(t, t.TempDir())
			defer store.Close()
			cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store, From: ingest.From{Start: true},
				Silence: 500 * time.Millisecond, Rewind: 10}
			f := follow(t, cfg)
			untilCaughtUp(t, store, server)
			f.stop()
			server.Crash(k, true) // the lost events arrive again under other numbers, with new ones among them
			server.SetFaults(sim.Faults{RedeliverEvery: 2})
			server.Emit(k + 30)
			f = follow(t, cfg)
			until(t, "what it has now is there", func() bool { return store.Cursor(server.URL()) == server.Tip() })
			f.stop()
			compare(t, store, server, true)
		})
	}
}

// TestV1: the index of a pure v1 server equals its events, which have no resyncs, also after drops and stalls.
func TestV1(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{NoV2: true, Backlog: 500, EventsPerSegment: 500,
		Faults:        sim.Faults{DropEvery: 700, DuplicateEvery: 5, UnknownEvery: 9},
		NetworkConfig: sim.NetworkConfig{Accounts: 200, Churn: 5, Seed: 3}})
	store := openStore(t, t.TempDir())
	defer store.Close()
	cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store, From: ingest.From{Start: true},
		BatchAge: 20 * time.Millisecond, Silence: time.Second}
	for range 3 {
		f := follow(t, cfg)
		for range 2 {
			server.Emit(100)
			last := newest(t, server)
			until(t, "it is received", func() bool { return f.Status().Kind == "v1" && store.Cursor(server.URL()) >= last })
		}
		f.stop()
	}
	if gaps, err := store.Gaps(t.Context()); err != nil || len(gaps) > 0 {
		t.Errorf("gaps: %v, %v", gaps, err)
	}
	m := modelV1(t, server)
	if err := m.Compare(t.Context(), store, dbtest.Depth{Page: 50}); err != nil {
		t.Error(err)
	}
}

// newest returns the time of the newest event that v1 sends.
func newest(t *testing.T, s *sim.Server) (us uint64) {
	if err := s.Replay(1, func(e sim.Event) error {
		if e.Kind != sim.KindSync && !e.Resync {
			us = uint64(e.TimeUS)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return us
}

func modelV1(t *testing.T, s *sim.Server) *dbtest.Model {
	m, r := &dbtest.Model{}, truth.Reader{}
	if err := s.Replay(1, func(e sim.Event) error {
		if e.Kind == sim.KindSync || e.Resync {
			return nil
		}
		out, _, err := r.Event(e)
		m.Apply(out)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestWiresAgree: v2's archive, v2's live stream and v1 of one network give one index.
func TestWiresAgree(t *testing.T) {
	t.Parallel()
	network := sim.NetworkConfig{Accounts: 200, Seed: 8, Churn: 1e-9} // without resyncs, which v1 lacks
	var stores []*db.Store
	for _, cfg := range []sim.ServerConfig{{Backlog: 3000, EventsPerSegment: 1000}, {}, {NoV2: true}} {
		cfg.NetworkConfig = network
		server := serve(t, cfg)
		server.Emit(3000 - cfg.Backlog)
		store := openStore(t, t.TempDir())
		defer store.Close()
		f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
			From: ingest.From{Start: true}})
		last := int64(newest(t, server))
		until(t, "it has all", func() bool { return store.NewestTime() == last })
		f.stop()
		stores = append(stores, store)
		compare(t, store, server, true)
	}
	if len(stores) != 3 {
		t.Fatal("not all were followed")
	}
}

// compareSets compares all lists without their order: a link whose key isn't a TID ranks by its first event, which may
// be one after the gap.
func compareSets(t *testing.T, store *db.Store, server *sim.Server) {
	t.Helper()
	m, err := truth.Model(server, 1)
	if err != nil {
		t.Fatal(err)
	}
	compareSetsWith(t, store, m)
}

// compareSetsWith compares the links of an index with those of a model, in any order.
func compareSetsWith(t *testing.T, store *db.Store, m *dbtest.Model) {
	t.Helper()
	m.Settle()
	var total int64
	for list, links := range m.Lists() {
		total += int64(len(links))
		want := map[db.Record]bool{}
		for _, l := range links {
			want[l.Record] = true
		}
		q := db.ListQuery{Target: list.Target, Source: list.Source, Limit: 1000}
		for more := true; more; more = q.After != nil {
			page, err := store.Links(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Items {
				if !want[r] {
					t.Fatalf("%v has %v", list, r)
				}
				delete(want, r)
			}
			if q.After = page.Next; page.Total != int64(len(links)) {
				t.Fatalf("%v has %d links, want %d", list, page.Total, len(links))
			}
		}
		if len(want) > 0 {
			t.Fatalf("%v lacks %v", list, want)
		}
	}
	if st, err := store.Stats(t.Context()); err != nil || st.Links != total {
		t.Errorf("%d links, want %d; %v", st.Links, total, err)
	}
}

// TestGapIsFilled: a gap is filled when the archive is repaired, and later events still win, also where sessions break
// and the events of the gap come again.
func TestGapIsFilled(t *testing.T) {
	t.Parallel()
	const segment = 1000
	for _, tc := range []struct {
		name    string
		hurt    func(*sim.Server)
		heal    func(*sim.Server)
		cfg     sim.ServerConfig
		records int  // FillRecords
		breaks  bool // sessions break before, while and after the gap is filled
	}{
		{name: "a block that was broken", hurt: func(s *sim.Server) { s.CorruptBlock(1, 0) }, heal: (*sim.Server).HealBlocks,
			cfg: sim.ServerConfig{Backlog: 4 * segment}},
		{name: "the live stream doesn't reach back, and the archive was closed",
			cfg:  sim.ServerConfig{Backlog: segment, Lookback: 3 * segment / 2}, // after the archive's end
			hurt: func(s *sim.Server) { s.Emit(3 * segment); s.FailArchive(1<<30, 403) },
			heal: func(s *sim.Server) { s.FailArchive(0, 0) }},
		{name: "the archive was closed, and sessions break", breaks: true,
			cfg:  sim.ServerConfig{Backlog: segment, Lookback: 3 * segment / 2},
			hurt: func(s *sim.Server) { s.Emit(3 * segment); s.FailArchive(1<<30, 403) },
			heal: func(s *sim.Server) { s.FailArchive(0, 0) }},
		{name: "in parts, and sessions break", breaks: true, hurt: func(s *sim.Server) { s.CorruptBlock(1, 0) },
			heal: (*sim.Server).HealBlocks, cfg: sim.ServerConfig{Backlog: 4 * segment}, records: 150},
		{name: "in parts", hurt: func(s *sim.Server) { s.CorruptBlock(1, 0) }, heal: (*sim.Server).HealBlocks,
			cfg: sim.ServerConfig{Backlog: 4 * segment}, records: 150},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.EventsPerSegment = segment
			tc.cfg.NetworkConfig = sim.NetworkConfig{Accounts: 100, Churn: 30, Seed: 77, RatePerSec: 10}
			server := serve(t, tc.cfg)
			store := openStore(t, t.TempDir())
			defer store.Close()
			cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store, From: ingest.From{Start: true},
				Fill: 50 * time.Millisecond, FillRecords: tc.records}
			if tc.cfg.Lookback > 0 {
				f := follow(t, cfg)
				untilCaughtUp(t, store, server)
				f.stop()
			}
			tc.hurt(server)
			f := follow(t, cfg)
			untilCaughtUp(t, store, server)
			gaps, err := store.Gaps(t.Context())
			if err != nil || len(gaps) != 1 {
				t.Fatalf("gaps: %v, %v", gaps, err)
			}
			server.Emit(2 * segment) // later events supersede many of the missing ones
			until(t, "an attempt fails", func() bool {
				gaps, err = store.Gaps(t.Context())
				return err == nil && len(gaps) == 1 && gaps[0].Tries > 0 && gaps[0].Note != ""
			})
			drop := func() {
				if tc.breaks {
					server.DropAll()
				}
			}
			drop()
			tc.heal(server)
			drop()
			if _, err := store.RetryGaps(0); err != nil {
				t.Fatal(err)
			}
			until(t, "the gap is filled", func() bool {
				if store.Cursor(server.URL()) >= server.Tip() { // more than a busy machine keeps up with would never end
					server.Emit(10)
					drop()
				}
				gaps, err := store.Gaps(t.Context())
				return err == nil && len(gaps) == 0
			})
			drop()
			server.Emit(62 * 10) // earlier resyncs end: they repair records that a gap had hidden
			untilCaughtUp(t, store, server)
			f.stop()
			compareSets(t, store, server)
		})
	}
}

// modelOf returns the model of a slice: the records of some collections.
func modelOf(t *testing.T, s *sim.Server, keeps func(e sim.Event) bool) *dbtest.Model {
	t.Helper()
	m, r := &dbtest.Model{}, truth.Reader{}
	if err := s.Replay(1, func(e sim.Event) error {
		if e.Kind == sim.KindCommit && !keeps(e) {
			return nil
		}
		out, _, err := r.Event(e)
		m.Apply(out)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSliceOfNetwork follows a slice from the archive into the live stream. A widened slice is filled from the archive,
// and a narrowed one loses the other records.
func TestSliceOfNetwork(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{Backlog: 3000, EventsPerSegment: 500,
		NetworkConfig: sim.NetworkConfig{Accounts: 200, Churn: 3, Seed: 9, RatePerSec: 10}})
	store := openStore(t, t.TempDir())
	defer store.Close()
	feed, err := ingest.NewSlice(ingest.SliceConfig{Collections: []string{"app.bsky.feed.*"},
		Exclude: []string{"app.bsky.feed.repost"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store, From: ingest.From{Start: true},
		Slice: feed,
		Fill:  50 * time.Millisecond}
	settle := func(in *follower, cfg ingest.Config) {
		server.Emit(62 * 10)
		last := newestOf(t, server, func(e sim.Event) bool {
			return e.Kind != sim.KindCommit ||
				cfg.Slice.Keeps(e.Collection)
		})
		until(t, "the slice has caught up", func() bool { return store.Cursor(server.URL()) >= last })
		in.stop()
	}
	model := func(cfg ingest.Config) *dbtest.Model {
		return modelOf(t, server, func(e sim.Event) bool { return cfg.Slice.Keeps(e.Collection) })
	}
	same := func(m *dbtest.Model) {
		t.Helper()
		if err := m.Compare(t.Context(), store, dbtest.Depth{Page: 50}); err != nil {
			t.Error(err)
		}
	}
	settle(follow(t, cfg), cfg)
	same(model(cfg))

	if cfg.Slice, err = ingest.NewSlice(ingest.SliceConfig{Collections: []string{"app.bsky.feed.*",
		"app.bsky.graph.follow"}}); err != nil {
		t.Fatal(err)
	}
	at := store.Cursor(server.URL())
	server.Emit(1000) // past the archive
	if err := store.AddGap(db.Gap{Host: server.URL(), From: 1, To: at, Why: "the slice was widened"}); err != nil {
		t.Fatal(err)
	}
	f := follow(t, cfg)
	until(t, "what is new is filled", func() bool {
		server.Emit(5)
		gaps, err := store.Gaps(t.Context())
		return err == nil && len(gaps) == 0
	})
	settle(f, cfg)
	wide := model(cfg)
	same(wide)

	if cfg.Slice, err = ingest.NewSlice(ingest.SliceConfig{Collections: []string{"app.bsky.graph.follow"}}); err != nil {
		t.Fatal(err)
	}
	if n, err := store.Purge(t.Context(), cfg.Slice.KeepsLink); err != nil || n == 0 {
		t.Fatalf("%d links are purged: %v", n, err)
	}
	// Not the model of the narrow slice: its events alone may not end a resync that the wide slice's events end.
	wide.Purge(cfg.Slice.KeepsLink)
	same(wide)
}

func newestOf(t *testing.T, s *sim.Server, which func(sim.Event) bool) (seq uint64) {
	t.Helper()
	if err := s.Replay(1, func(e sim.Event) error {
		if which(e) {
			seq = e.Seq
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return seq
}

// TestPlanBackfill: the estimate is the archive's content, and for a slice at most that.
func TestPlanBackfill(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{Backlog: 30_000, EventsPerSegment: 10_000,
		NetworkConfig: sim.NetworkConfig{Accounts: 200}})
	hosts := []upstream.Endpoint{{URL: server.URL()}}
	whole, err := ingest.PlanBackfill(t.Context(), hosts, "", ingest.From{Start: true}, nil)
	if err != nil || whole.Segments != 3 || whole.Events != 30_000 || whole.Links != 36_000 || whole.Bytes < 30_000*10 {
		t.Errorf("the plan is %+v, %v", whole, err)
	}
	half, err := ingest.PlanBackfill(t.Context(), hosts, "", ingest.From{Seq: 15_001}, nil)
	if err != nil || half.Segments != 2 || half.Events != 15_000 || half.Bytes >= whole.Bytes {
		t.Errorf("the plan from the middle is %+v, %v", half, err)
	}
	slice, err := ingest.NewSlice(ingest.SliceConfig{Collections: []string{"app.bsky.actor.profile"}})
	if err != nil {
		t.Fatal(err)
	}
	part, err := ingest.PlanBackfill(t.Context(), hosts, "", ingest.From{Start: true}, slice)
	if err != nil || !part.Sliced || part.Bytes > whole.Bytes || part.Events > whole.Events {
		t.Errorf("the plan of a slice is %+v, %v", part, err)
	}
	if none, err := ingest.PlanBackfill(t.Context(), hosts, "", ingest.From{}, nil); err != nil ||
		none != (ingest.Plan{}) {
		t.Errorf("the plan of none is %+v, %v", none, err)
	}
	server.FailArchive(1<<30, 401)
	if _, err := ingest.PlanBackfill(t.Context(), hosts, "", ingest.From{Start: true}, slice); err == nil {
		t.Error("a closed archive is planned")
	}
}
