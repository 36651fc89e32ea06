package db_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/link"
)

// respelled gives events as an extractor with the present rules sends them.
func respelled(events []apply.Event) []apply.Event {
	out := slices.Clone(events)
	for i := range out {
		links := make([]db.Link, 0, len(out[i].Links))
		for _, l := range out[i].Links {
			if target, kind := link.Parse(l.Target); kind != link.None {
				links = append(links, db.Link{Path: l.Path, Target: target})
			}
		}
		out[i].Links = links
	}
	return out
}

// madeByOldRules makes an index one that an older program made.
func madeByOldRules(t *testing.T, dir string) {
	t.Helper()
	dbtest.Statements("UPDATE meta SET value = '1' WHERE key = 'spelling'")(t, dir)
}

// untilRespelled waits until no link has another spelling.
func untilRespelled(t *testing.T, s *db.Store) {
	t.Helper()
	select {
	case <-s.Respelled():
	case <-time.After(time.Minute):
		t.Fatalf("links are still being rewritten after a minute (%v)", s.Failed())
	}
	if s.Respelling() {
		t.Error("it says that it goes on")
	}
}

// TestRespell makes indexes of links in old spellings, and opens them with the present rules, with faults in the middle
// and with events beside it. Then they answer as if they had been fed the present spellings, and so do their followers,
// their replays and later starts, which rewrite nothing.
func TestRespell(t *testing.T) {
	t.Parallel()
	for seed := range seeds(9) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			h.old, h.tids = true, true
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			faults := int64(0) // respelling steps until one fails; 0: none does
			var steps atomic.Int64
			faulty := make(chan struct{}, 1)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				Bodies: db.Bodies(seed % 3), JobRecords: 1, JobRest: -1,
				Failpoint: func(name string) error {
					if name == "respell" && steps.Add(1) == faults {
						faulty <- struct{}{}
						return errors.New("a fault")
					}
					return nil
				}}
			if seed%3 != 0 {
				cfg.SealBytes, cfg.CacheBytes, cfg.ReplayWindow = 4<<10<<(seed%3), 1<<16, time.Duration(seed%5)*10*time.Minute
			}
			s := openWith(t, cfg)
			if s.Respelling() {
				t.Error("a new index is rewritten")
			}
			var m dbtest.Model
			feed := func(n int, spell func([]apply.Event) []apply.Event) {
				t.Helper()
				for range n {
					events := h.next()
					clock.Add(int64(h.r.IntN(20)))
					if _, err := s.Apply(db.Batch{Host: "test", Events: spell(events)}); err != nil {
						t.Fatal(err)
					}
					for _, e := range respelled(events) {
						m.Apply(e)
					}
				}
			}
			feed(800/fraction(1), func(events []apply.Event) []apply.Event { return events })
			closeStore := func() {
				t.Helper()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			closeStore()
			madeByOldRules(t, cfg.Dir)
			for faults = 1; faults < 4; faults++ {
				steps.Store(0)
				s = openWith(t, cfg)
				if !s.Respelling() {
					t.Fatal("it isn't rewritten")
				}
				select {
				case <-faulty:
				case <-s.Respelled():
					t.Fatalf("step %d of rewriting was not reached", faults)
				}
				closeStore()
			}
			faults = 0
			s = openWith(t, cfg)
			defer func() { _ = s.Close() }()
			feed(50, respelled)
			untilRespelled(t, s)
			feed(50, respelled)
			same := func(what string) {
				t.Helper()
				untilNoJobs(t, s)
				if err := m.Compare(t.Context(), s, dbtest.Depth{Page: 1 + h.r.IntN(5), Many: true}); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			same("rewritten")
			f := follow(t, db.FollowerConfig{Dir: cfg.Dir})
			refresh(t, f)
			if err := m.Compare(t.Context(), f, dbtest.Depth{Page: 3}); err != nil {
				t.Fatalf("a follower: %v", err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			seq := s.Seq()
			closeStore()
			if r, err := check.Run(t.Context(), cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
				t.Errorf("checked: %v, %+v", err, r)
			}
			if cfg.ReplayWindow == 0 { // the log alone
				if err := os.RemoveAll(filepath.Join(cfg.Dir, "segments")); err != nil {
					t.Fatal(err)
				}
			}
			s = openWith(t, cfg)
			if s.Respelling() || s.Seq() != seq {
				t.Errorf("another start rewrites again: %v, log row %d after %d", s.Respelling(), s.Seq(), seq)
			}
			same("another start")
		})
	}
}

// TestRespellKill kills a process that rewrites an index, at steps of the rewriting and at random moments of it.
func TestRespellKill(t *testing.T) {
	notShort(t)
	t.Parallel()
	for n := range 2 + *soak {
		t.Run(fmt.Sprintf("seed %d", n), func(t *testing.T) {
			t.Parallel()
			w := world{Seed: uint64(100 + n), Events: 1500, Batch: 100, Old: true, SealBytes: 6 << 10,
				Window: time.Duration(n%2) * 10 * time.Minute}
			dir := t.TempDir()
			events, err := w.events()
			if err != nil {
				t.Fatal(err)
			}
			if l := live(t, child{World: w, Dir: dir}, nil); !l.done {
				t.Fatal("it didn't come to the end")
			}
			madeByOldRules(t, dir)
			for _, at := range []int64{1, 2, 3, 1} {
				// All events are there, so that a child lives only until it is killed or, with few steps left, closes.
				if l := live(t, child{World: w, Dir: dir, KillAt: "respell", KillTimes: at, Linger: true},
					nil); !l.killed {
					t.Errorf("step %d of rewriting was not reached", at)
				}
			}
			var clock atomic.Int64
			s := openWith(t, w.config(dir, &clock))
			untilRespelled(t, s)
			untilNoJobs(t, s)
			if err := modelOf(respelled(events)).Compare(t.Context(), s, sampled(50)); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if r, err := check.Run(t.Context(), dir, check.Options{All: true}); err != nil || r.Total > 0 {
				t.Errorf("checked: %v, %+v", err, r)
			}
		})
	}
}

// TestRespellFixture opens an index of schema 4 that a weft made which kept four spellings of a page apart, from the
// events beside it.
func TestRespellFixture(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	packed, err := os.Open("testdata/spelling/weft.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "weft.db"), must(io.ReadAll(unpacked)), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := db.Config{Dir: dir, JobRecords: 2, Bodies: db.BodiesKeep}
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	events := v1Events(t, "testdata/spelling/events.jsonl")
	hidden := "did:plc:aaaaaaaaaaaaaaaaaaaaaaa3"
	self := db.Record{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaa2", Collection: "com.example.l", Rkey: "self"}
	check := func(what string, page, array int64) {
		t.Helper()
		untilRespelled(t, s)
		if err := modelOf(events).Compare(t.Context(), s, dbtest.Depth{Page: 2, Many: true}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for path, want := range map[string]int64{"u": page, "l[]": array} {
			if n, err := s.CountLinks(t.Context(), "https://example.org/",
				db.Source{Collection: "com.example.l", Path: path}); n != want || err != nil {
				t.Errorf("%s: %d links to the page from %s (%v), want %d", what, n, path, err, want)
			}
		}
		if bodies, err := s.Bodies(t.Context(), []db.Record{self}); err != nil || bodies[0].CBOR == nil {
			t.Errorf("%s: the record that links thrice has lost its content (%v)", what, err)
		}
	}
	check("opened", 7, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, cfg)
	check("opened again", 7, 2)
	back := apply.Event{Seq: 1000, TimeUS: events[len(events)-1].TimeUS + 1, Op: db.OpAccount, DID: hidden,
		Status: db.StatusActive}
	if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{back}}); err != nil {
		t.Fatal(err)
	}
	events = append(events, back)
	check("an account is back", 8, 3)
}

// TestRespellRank: of links that become one the older rank stays, and the log tells what went and what came.
func TestRespellRank(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	did := "did:plc:" + fmt.Sprintf("%024d", 1)
	event := func(sec int64, op db.Op, targets ...string) {
		t.Helper()
		e := record(uint64(sec), sec, sec, op, "self")
		e.DID, e.Collection, e.Links = did, "com.example.thing", nil
		for _, target := range targets {
			e.Links = append(e.Links, db.Link{Path: "u", Target: target})
		}
		if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	event(10, db.OpCreate, "https://example.com")
	event(20, db.OpUpdate, "https://example.com", "https://example.com/")
	was := must(s.Links(t.Context(), db.ListQuery{Target: "https://example.com",
		Source: db.Source{Collection: "com.example.thing", Path: "u"}, Limit: 1}))
	seq := s.Seq()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	madeByOldRules(t, dir)
	s = open(t, dir)
	defer s.Close()
	untilRespelled(t, s)
	now := must(s.Links(t.Context(), db.ListQuery{Target: "https://example.com/",
		Source: db.Source{Collection: "com.example.thing", Path: "u"}, Limit: 2}))
	was.Position, now.Position = nil, nil // functions
	if !reflect.DeepEqual(now, was) {
		t.Errorf("the page has %+v, and had %+v", now, was)
	}
	log, _, err := s.Log(t.Context(), seq, 10)
	want := db.LogEntry{Op: db.OpUpdate, DID: did, Collection: "com.example.thing", Rkey: "self",
		Removed: []db.Link{{Path: "u", Target: "https://example.com"}, {Path: "u", Target: "https://example.com/"}},
		Added:   []db.Link{{Path: "u", Target: "https://example.com/"}}}
	if err != nil || len(log) != 1 {
		t.Fatalf("the log has %+v, %v", log, err)
	}
	want.Seq, want.TimeUS, want.Rev = seq+1, log[0].TimeUS, log[0].Rev
	if !reflect.DeepEqual(log[0], want) {
		t.Errorf("the log has %+v, want %+v", log[0], want)
	}
}

// TestRespellMany: a record whose links are all rewritten, so many that they take several log rows, keeps its body and
// its links over a replay.
func TestRespellMany(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		links int
	}{
		{"a row of removals", 4096},
		{"two rows of removals", 8192},
		{"one more", 4097},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBodyStore(t, db.Config{Bodies: db.BodiesKeep, SealBytes: 1 << 30})
			e := b.event(db.OpCreate, "did:plc:"+fmt.Sprintf("%024d", 1), "self", "many pages")
			e.Links = nil
			for i := range tc.links {
				e.Links = append(e.Links, db.Link{Path: "u", Target: fmt.Sprintf("https://h%d.example", i)})
			}
			b.apply(e)
			record := db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}
			was := must(b.Bodies(t.Context(), []db.Record{record}))
			if err := b.Store.Close(); err != nil {
				t.Fatal(err)
			}
			madeByOldRules(t, b.cfg.Dir)
			b.Store = openWith(t, b.cfg)
			untilRespelled(t, b.Store)
			for _, when := range []string{"at once", "after a replay"} {
				now := must(b.Bodies(t.Context(), []db.Record{record}))
				if !reflect.DeepEqual(now, was) {
					t.Errorf("%s the body is %+v, and was %+v", when, now, was)
				}
				for _, target := range []string{"https://h0.example", fmt.Sprintf("https://h%d.example", tc.links-1)} {
					source := db.Source{Collection: e.Collection, Path: "u"}
					page := must(b.Links(t.Context(), db.ListQuery{Target: target + "/", Source: source, Limit: 2}))
					old := must(b.Links(t.Context(), db.ListQuery{Target: target, Source: source, Limit: 2}))
					if page.Total != 1 || old.Total != 0 {
						t.Errorf("%s %s has %d links, and its old spelling %d", when, target, page.Total, old.Total)
					}
				}
				b.reopen(db.BodiesKeep)
			}
		})
	}
}
