package db_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
)

// longList is a store with a list of thousands of links, in several segments. Some accounts link once, some often, and
// some are inactive.
type longList struct {
	*db.Store
	model  dbtest.Model
	target string
	source db.Source
	other  string // the path of other links of the records
	dids   []string
}

func newLongList(tb testing.TB, links int, cfg db.Config) *longList {
	s, err := db.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	l := &longList{Store: s, target: "did:plc:" + "popular77777777777777777"[:24], other: "via",
		source: db.Source{Collection: "app.bsky.graph.follow", Path: "subject"}}
	r := rand.New(rand.NewPCG(7, 7))
	accounts := links / 3
	for i := range accounts {
		l.dids = append(l.dids, fmt.Sprintf("did:plc:%024d", i))
	}
	var events []apply.Event
	us := int64(1_770_000_000_000_000)
	event := func(op db.Op, did string) *apply.Event {
		us += 1_000_000
		events = append(events, apply.Event{Seq: uint64(len(events) + 1), TimeUS: us, Op: op, DID: did,
			Rev: newHistory(0).tid(us), Collection: l.source.Collection, Rkey: newHistory(0).tid(us)})
		return &events[len(events)-1]
	}
	for i := range links {
		did := l.dids[r.IntN(1+r.IntN(accounts))] // the first ones link often
		e := event(db.OpCreate, did)
		e.Links = []db.Link{{Path: l.source.Path, Target: l.target}}
		if r.IntN(4) == 0 {
			e.Links = append(e.Links, db.Link{Path: l.other, Target: l.dids[r.IntN(5)]})
		}
		if r.IntN(5) == 0 { // a record that links elsewhere
			event(db.OpCreate, did).Links = []db.Link{{Path: l.source.Path, Target: l.dids[r.IntN(accounts)]}}
		}
		switch at := &events[r.IntN(len(events))]; {
		case i%10 == 0 && at.Op == db.OpCreate:
			event(db.OpDelete, at.DID).Rkey = at.Rkey
		case i%100 == 1:
			event(db.OpAccount, l.dids[r.IntN(accounts)]).Status = db.StatusDeactivated
		}
	}
	for _, e := range events {
		l.model.Apply(e)
	}
	if err := applyAll(s, events, 500, func() {}); err != nil {
		tb.Fatal(err)
	}
	return l
}

// TestFilterOfLongList: links by some accounts in a list that is much longer than what the accounts have are those of
// the list, in its order, page by page, in either direction and within a span of time; so are the accounts and what
// else their records link to.
func TestFilterOfLongList(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	cfg := small(t.TempDir(), &clock)
	l := newLongList(t, 9000/fraction(1), cfg)
	untilNoJobs(t, l.Store)
	list := l.model.Lists()[dbtest.List{Target: l.target, Source: l.source}]
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		wanted := []string{"did:plc:nobody7777777777777777"}
		for range 1 + n%3 {
			wanted = append(wanted, l.dids[r.IntN(1+r.IntN(len(l.dids)))])
		}
		var since, until int64
		if n%4 == 3 {
			since, until = int64(list[len(list)*3/4].Rank), int64(list[len(list)/4].Rank)
		}
		var want []dbtest.Link
		for _, link := range list {
			if slices.Contains(wanted, link.Record.DID) && (until == 0 || link.Rank >= uint64(since) &&
				link.Rank < uint64(until)) {
				want = append(want, link)
			}
		}
		q := db.ListQuery{Target: l.target, Source: l.source, DIDs: wanted, Limit: 1 + r.IntN(5), Since: since, Until: until}
		l.compareLinks(t, q, want)
		l.compareDIDs(t, q, want)
		if until == 0 {
			l.compareMany(t, q, want)
		}
	}
}

func (l *longList) compareLinks(t *testing.T, q db.ListQuery, want []dbtest.Link) {
	t.Helper()
	for _, reverse := range []bool{false, true} {
		var records []db.Record
		for _, link := range want {
			records = append(records, link.Record)
		}
		q.Reverse = reverse
		if reverse {
			slices.Reverse(records)
		}
		got := pagesOf(t, q.Limit, func(after []byte) (db.Page[db.Record], error) {
			q.After = after
			p, err := l.Links(t.Context(), q)
			if err == nil && p.Total != int64(len(want)) {
				t.Fatalf("%v: the total is %d of %d", q.DIDs, p.Total, len(want))
			}
			return p, err
		})
		if !slices.Equal(got, records) {
			t.Fatalf("links by %v (reverse %t): %v, not %v", q.DIDs, reverse, got, records)
		}
	}
}

func (l *longList) compareDIDs(t *testing.T, q db.ListQuery, want []dbtest.Link) {
	t.Helper()
	var dids []string // by their first link, newest first
	for _, link := range slices.Backward(want) {
		if !slices.Contains(dids, link.Record.DID) {
			dids = append(dids, link.Record.DID)
		}
	}
	slices.Reverse(dids)
	got := pagesOf(t, q.Limit, func(after []byte) (db.Page[string], error) {
		q.After = after
		return l.DIDs(t.Context(), q)
	})
	if !slices.Equal(got, dids) {
		t.Fatalf("accounts among %v: %v, not %v", q.DIDs, got, dids)
	}
}

func (l *longList) compareMany(t *testing.T, q db.ListQuery, want []dbtest.Link) {
	t.Helper()
	others := l.model.Others(want, l.other)
	var items []db.ManyItem
	counts := map[string]int64{}
	for _, link := range want {
		for _, other := range others[link.Record] {
			items = append(items, db.ManyItem{Record: link.Record, Other: other})
			counts[other]++
		}
	}
	many := db.ManyQuery{ListQuery: q, Other: l.other}
	got := pagesOf(t, q.Limit, func(after []byte) (db.Page[db.ManyItem], error) {
		many.After = after
		return l.ManyToMany(t.Context(), many)
	})
	if !slices.Equal(got, items) {
		t.Fatalf("others of %v: %v, not %v", q.DIDs, got, items)
	}
	counted := pagesOf(t, q.Limit, func(after []byte) (db.Page[db.OtherCount], error) {
		many.After = after
		return l.ManyToManyCounts(t.Context(), many)
	})
	for _, c := range counted {
		if counts[c.Other] != c.Links {
			t.Fatalf("counts of %v: %+v, not %v", q.DIDs, counted, counts)
		}
		delete(counts, c.Other)
	}
	if len(counts) > 0 {
		t.Fatalf("counts of %v lack %v", q.DIDs, counts)
	}
}

// pagesOf reads all pages of an answer.
func pagesOf[T any](t *testing.T, limit int, ask func(after []byte) (db.Page[T], error)) (all []T) {
	t.Helper()
	for after := []byte(nil); ; {
		p, err := ask(after)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Items) > limit {
			t.Fatalf("a page of %d items", len(p.Items))
		}
		all = append(all, p.Items...)
		if p.Next == nil {
			return all
		}
		after = p.Next
	}
}

// BenchmarkFilter asks for the links by one account in a list of a million.
func BenchmarkFilter(b *testing.B) {
	l := newLongList(b, 1_000_000, db.Config{Dir: b.TempDir()})
	for _, did := range []struct{ name, did string }{
		{"an account with few records", l.dids[len(l.dids)/2]},
		{"an account with many", l.dids[0]},
		{"an unknown account", "did:plc:nobody7777777777777777"},
	} {
		b.Run(did.name, func(b *testing.B) {
			q := db.ListQuery{Target: l.target, Source: l.source, DIDs: []string{did.did}, Limit: 100}
			for b.Loop() {
				if _, err := l.Links(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
