package db_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
)

// pages walks a list a page at a time, and remembers how often each item came.
type pages[T comparable] struct {
	ask   func(after []byte) (db.Page[T], error)
	now   func() map[T]bool // what the model holds
	seen  map[T]int
	held  map[T]bool // what was there all the time
	after []byte
	done  bool
}

func (p *pages[T]) begin() {
	p.seen, p.held, p.after, p.done = map[T]int{}, p.now(), nil, false
}

// step asks for the next page, after the index has changed.
func (p *pages[T]) step(t *testing.T, what string) {
	t.Helper()
	if p.done {
		return
	}
	now := p.now()
	for item := range p.held {
		if !now[item] {
			delete(p.held, item)
		}
	}
	page, err := p.ask(p.after)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for _, item := range page.Items {
		if !now[item] {
			t.Fatalf("%s: lists %v, which is not there", what, item)
		}
		p.seen[item]++
	}
	if p.after = page.Next; p.after != nil {
		return
	}
	p.done = true
	for item := range p.held {
		if p.seen[item] != 1 {
			t.Fatalf("%s: %v was there all the time and came %d times", what, item, p.seen[item])
		}
	}
}

// TestWalksWhileLinksComeAndGo pages through lists between random events: what is there all the time comes exactly
// once.
func TestWalksWhileLinksComeAndGo(t *testing.T) {
	t.Parallel()
	for seed := range seeds(9) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed + 1000)
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), SealBytes: 4 << 10 << (seed % 3), JobRecords: 3, JobRest: -1,
				Now: func() time.Time { return time.Unix(clock.Load(), 0) }}
			if seed%2 == 1 {
				cfg.ReplayWindow = time.Hour // longer than any walk here
			}
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			var m dbtest.Model
			commit := func(n int) {
				var events []apply.Event
				for range n {
					events = append(events, h.next()...)
				}
				for _, e := range events {
					m.Apply(e)
				}
				if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
					t.Fatal(err)
				}
				clock.Add(7)
				m.Settle()
				untilNoJobs(t, s)
			}
			commit(300)
			target, source, account := "https://example.com/", db.Source{Collection: "app.bsky.feed.like",
				Path: "subject"}, h.dids[0]
			list := db.ListQuery{Target: target, Source: source, Limit: 1}
			links := func() []dbtest.Link { return m.Lists()[dbtest.List{Target: target, Source: source}] }
			records := &pages[db.Record]{
				ask: func(after []byte) (db.Page[db.Record],
					error) {
					list.After = after
					return s.Links(t.Context(), list)
				},
				now: func() map[db.Record]bool {
					now := map[db.Record]bool{}
					for _, l := range links() {
						now[l.Record] = true
					}
					return now
				},
			}
			dids := &pages[string]{
				ask: func(after []byte) (db.Page[string],
					error) {
					list.After = after
					return s.DIDs(t.Context(), list)
				},
				now: func() map[string]bool {
					now := map[string]bool{}
					for _, l := range links() {
						now[l.Record.DID] = true
					}
					return now
				},
			}
			feed := &pages[db.AccountLink]{
				ask: func(after []byte) (db.Page[db.AccountLink], error) {
					return s.AccountLinks(t.Context(), db.AccountQuery{DID: account, Limit: 3, After: after})
				},
				now: func() map[db.AccountLink]bool {
					now := map[db.AccountLink]bool{}
					for list, links := range m.Lists() {
						if dbtest.Account(list.Target) != account {
							continue
						}
						for _, l := range links {
							now[db.AccountLink{Record: l.Record, Path: list.Source.Path, Target: list.Target,
								TimeUS: int64(l.Rank)}] = true
						}
					}
					return now
				},
			}
			for round := range 12 {
				records.begin()
				dids.begin()
				feed.begin()
				for step := 0; !records.done || !dids.done || !feed.done; step++ {
					at := fmt.Sprintf("round %d, step %d", round, step)
					records.step(t, "links, "+at)
					dids.step(t, "accounts, "+at)
					feed.step(t, "links to an account, "+at)
					if step < 40 {
						commit(1 + h.r.IntN(3))
					}
				}
			}
		})
	}
}

// TestAccountsMoveBetweenPages: an account whose first link goes, or that gets an older one, between two pages comes
// once, at the place that it had when the walk began.
func TestAccountsMoveBetweenPages(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer func() { _ = s.Close() }()
	const collection = "app.bsky.graph.follow"
	h := newHistory(0)
	at := int64(1_770_000_000_000_000)
	seq := uint64(0)
	send := func(op db.Op, did int, us int64) {
		t.Helper()
		seq++
		e := apply.Event{Seq: seq, TimeUS: at + int64(seq), Op: op, DID: fmt.Sprintf("did:plc:%024d", did),
			Collection: collection, Rkey: h.tid(us), Rev: h.tid(at + int64(seq))}
		if op == db.OpCreate {
			e.Links = []db.Link{{Path: "subject", Target: "did:plc:popular77777777777777777"}}
		}
		if _, err := s.Apply(db.Batch{Host: "sim", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	for did := range 6 {
		send(db.OpCreate, did, at-1000+int64(did))
	}
	send(db.OpCreate, 0, at-500) // its first link stays the oldest of all
	q := db.ListQuery{Target: "did:plc:popular77777777777777777",
		Source: db.Source{Collection: collection, Path: "subject"}, Limit: 3}
	page := must(s.DIDs(t.Context(), q))
	listed := page.Items
	send(db.OpDelete, 0, at-1000)  // the first of an account that is still to come
	send(db.OpCreate, 5, at-2000)  // an older one of an account that has come
	send(db.OpCreate, 77, at-3000) // an account that came after the walk began: on no page
	for page.Next != nil {
		q.After = page.Next
		page = must(s.DIDs(t.Context(), q))
		listed = append(listed, page.Items...)
	}
	var got []string
	for _, did := range listed {
		got = append(got, did[len(did)-2:])
	}
	if want := "[05 04 03 02 01 00]"; fmt.Sprint(got) != want {
		t.Errorf("the pages have %v, want %s", got, want)
	}
}
