package dbtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"weft.dev/weft/db"
)

// Index is what a store answers.
type Index interface {
	CountLinks(ctx context.Context, target string, source db.Source) (int64, error)
	CountDIDs(ctx context.Context, target string, source db.Source) (int64, error)
	Links(ctx context.Context, q db.ListQuery) (db.Page[db.Record], error)
	DIDs(ctx context.Context, q db.ListQuery) (db.Page[string], error)
	Sources(ctx context.Context, q db.SourcesQuery) (db.Page[db.SourceCount], error)
	ManyToMany(ctx context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error)
	ManyToManyCounts(ctx context.Context, q db.ManyQuery) (db.Page[db.OtherCount], error)
	Counts(ctx context.Context, pairs []db.Pair, pause func() error) ([]db.PairCount, error)
	AccountLinks(ctx context.Context, q db.AccountQuery) (db.Page[db.AccountLink], error)
	AccountSources(ctx context.Context, q db.SourcesQuery) (db.Page[db.AccountCount], error)
	Timeline(ctx context.Context, q db.TimelineQuery) (db.Timeline, error)
	RecordLinks(ctx context.Context, r db.Record) ([]db.Link, error)
	Stats(ctx context.Context) (db.Stats, error)
}

// Depth says how much Compare asks of each list.
type Depth struct {
	Page int  // items in a page
	Many bool // many-to-many too, over every path of the list's collection
	// Every asks only one list in so many, which its name selects, for more than its counts and its links: for its
	// accounts, times, feeds and many-to-many. Tests of crashes compare often, and these follow from the same runs.
	// 0: all lists.
	Every int
	// Retimed: the upstream has sent events again with other times, of which the index keeps the first and the model
	// knows the last. Links are then not compared by time.
	Retimed bool
}

// largePage is the least size of a page of a list that is asked only for its counts and its links.
const largePage = 50

// asks reports whether the depth reaches more than the counts and links of a list.
func (d *Depth) asks(list List) bool {
	if d.Every <= 1 {
		return true
	}
	sum := crc32.ChecksumIEEE([]byte(list.Target + "\n" + list.Source.Collection + "\n" + list.Source.Path))
	return sum%uint32(d.Every) == 0
}

// Compare asks an index everything that the model knows, and returns the first difference. What the index holds beyond
// the model shows in the totals.
func (m *Model) Compare(ctx context.Context, x Index, depth Depth) error {
	m.Settle()
	lists := m.Lists()
	var total int64
	targets := map[string][]List{}
	paths := map[string]map[string]bool{}
	for list, links := range lists {
		total += int64(len(links))
		targets[list.Target] = append(targets[list.Target], list)
		if paths[list.Source.Collection] == nil {
			paths[list.Source.Collection] = map[string]bool{}
		}
		paths[list.Source.Collection][list.Source.Path] = true
		if err := compareList(ctx, x, list, links, depth); err != nil {
			return err
		}
	}
	for target, of := range targets {
		if err := compareSources(ctx, x, target, of, lists, depth.Page); err != nil {
			return err
		}
	}
	if err := compareBatch(ctx, x, lists); err != nil {
		return err
	}
	if err := compareAccounts(ctx, x, lists, depth); err != nil {
		return err
	}
	if f, ok := x.(Feeds); ok {
		if err := compareFeeds(ctx, f, lists, depth); err != nil {
			return err
		}
	}
	if err := m.compareRecords(ctx, x); err != nil {
		return err
	}
	if depth.Many {
		for list, links := range lists {
			if !depth.asks(list) {
				continue
			}
			for path := range paths[list.Source.Collection] {
				if err := m.compareMany(ctx, x, list, links, path, depth.Page); err != nil {
					return err
				}
			}
		}
	}
	st, err := x.Stats(ctx)
	if err != nil {
		return err
	}
	if m.kept == nil && (st.Links != total || st.Records != m.Records()) {
		return fmt.Errorf("the index has %d links of %d records, the model %d of %d", st.Links, st.Records, total,
			m.Records())
	}
	return nil
}

func compareList(ctx context.Context, x Index, list List, want []Link, depth Depth) error {
	page := depth.Page
	if !depth.asks(list) {
		page = max(page, largePage)
	}
	links, err := x.CountLinks(ctx, list.Target, list.Source)
	if err != nil {
		return err
	}
	dids, err := x.CountDIDs(ctx, list.Target, list.Source)
	if err != nil {
		return err
	}
	if links != int64(len(want)) || dids != DIDs(want) {
		return fmt.Errorf("%v: the index counts %d links of %d accounts, the model %d of %d: %w", list, links, dids,
			len(want), DIDs(want),
			difference(ctx, x, list, want))
	}
	for _, reverse := range []bool{false, true} {
		q := db.ListQuery{Target: list.Target, Source: list.Source, Limit: page, Reverse: reverse}
		got, err := walk(func(after []byte) (db.Page[db.Record], error) {
			q.After = after
			p, err := x.Links(ctx, q)
			if err == nil && p.Total != int64(len(want)) {
				err = fmt.Errorf("%v: a page's total is %d, not %d", list, p.Total, len(want))
			}
			return p, err
		}, page)
		if err != nil {
			return err
		}
		if reverse {
			slices.Reverse(got)
		}
		if err := sameOrder(got, want); err != nil {
			return fmt.Errorf("%v (reverse %t): %w", list, reverse, err)
		}
	}
	if !depth.asks(list) {
		return nil
	}
	if !depth.Retimed {
		if err := compareSpans(ctx, x, list, want, page); err != nil {
			return err
		}
		if err := compareTimeline(ctx, x, list, want, page); err != nil {
			return err
		}
	}
	return compareDIDs(ctx, x, list, want, db.ListQuery{Target: list.Target, Source: list.Source, Limit: page})
}

// difference names a link that is in only one of the two.
func difference(ctx context.Context, x Index, list List, want []Link) error {
	got, err := walk(func(after []byte) (db.Page[db.Record], error) {
		return x.Links(ctx, db.ListQuery{Target: list.Target, Source: list.Source, Limit: 1000, After: after})
	}, 1000)
	if err != nil {
		return err
	}
	in := map[db.Record]int{}
	for _, l := range want {
		in[l.Record]++
	}
	for _, r := range got {
		in[r]--
	}
	for r, n := range in {
		if n != 0 {
			return fmt.Errorf("%v is in the model %+d times more often", r, n)
		}
	}
	return errors.New("the index lists the same links")
}

// sameOrder holds records against links: the same ones, and in an order that their ranks allow.
func sameOrder(got []db.Record, want []Link) error {
	ranks := make(map[db.Record]uint64, len(want))
	for _, l := range want {
		ranks[l.Record] = l.Rank
	}
	if len(got) != len(want) {
		return fmt.Errorf("listed %d links, not %d", len(got), len(want))
	}
	for i, r := range got {
		rank, ok := ranks[r]
		if !ok {
			return fmt.Errorf("lists %v, which does not link or was listed before", r)
		}
		if rank != want[i].Rank {
			return fmt.Errorf("lists %v, of rank %d, where rank %d belongs", r, rank, want[i].Rank)
		}
		delete(ranks, r)
	}
	return nil
}

func compareDIDs(ctx context.Context, x Index, list List, want []Link, q db.ListQuery) error {
	firsts := map[string]uint64{} // the rank of each account's first link
	for _, l := range want {      // newest first: the last one stays
		firsts[l.Record.DID] = l.Rank
	}
	got, err := walk(func(after []byte) (db.Page[string], error) {
		q.After = after
		return x.DIDs(ctx, q)
	}, q.Limit)
	if err != nil {
		return err
	}
	if len(got) != len(firsts) {
		return fmt.Errorf("%v: listed %d accounts, not %d", list, len(got), len(firsts))
	}
	last := ^uint64(0)
	for _, did := range got {
		rank, ok := firsts[did]
		if !ok || rank > last {
			return fmt.Errorf("%v: account %s out of place (rank %d after %d, known: %t)", list, did, rank, last, ok)
		}
		last = rank
		delete(firsts, did)
	}
	return nil
}

func compareSources(ctx context.Context, x Index, target string, of []List, lists map[List][]Link, page int) error {
	got, err := walk(func(after []byte) (db.Page[db.SourceCount], error) {
		return x.Sources(ctx, db.SourcesQuery{Of: target, Limit: page, After: after})
	}, page)
	if err != nil {
		return err
	}
	if len(got) != len(of) {
		return fmt.Errorf("%s: the index has %d sources, the model %d", target, len(got), len(of))
	}
	for _, c := range got {
		links := lists[List{target, c.Source}]
		if c.Links != int64(len(links)) || c.DIDs != DIDs(links) {
			return fmt.Errorf("%s from %v: the index counts %d links of %d accounts, the model %d of %d",
				target, c.Source, c.Links, c.DIDs, len(links), DIDs(links))
		}
	}
	return nil
}

func (m *Model) compareMany(ctx context.Context, x Index, list List, links []Link, path string, page int) error {
	others := m.Others(links, path)
	want := map[db.ManyItem]uint64{}
	counts := map[string]map[string]int64{}
	for _, l := range links {
		for _, other := range others[l.Record] {
			want[db.ManyItem{Record: l.Record, Other: other}] = l.Rank
			if counts[other] == nil {
				counts[other] = map[string]int64{}
			}
			counts[other][l.Record.DID]++
		}
	}
	q := db.ManyQuery{ListQuery: db.ListQuery{Target: list.Target, Source: list.Source, Limit: page}, Other: path}
	items, err := walk(func(after []byte) (db.Page[db.ManyItem], error) {
		q.After = after
		return x.ManyToMany(ctx, q)
	}, page)
	if err != nil {
		return err
	}
	if len(items) != len(want) {
		return fmt.Errorf("%v through %s: listed %d items, not %d", list, path, len(items), len(want))
	}
	last := ^uint64(0)
	for _, it := range items {
		rank, ok := want[it]
		if !ok || rank > last {
			return fmt.Errorf("%v through %s: %v out of place", list, path, it)
		}
		last = rank
		delete(want, it)
	}
	got, err := walk(func(after []byte) (db.Page[db.OtherCount], error) {
		q.After = after
		return x.ManyToManyCounts(ctx, q)
	}, page)
	if err != nil {
		return err
	}
	if len(got) != len(counts) {
		return fmt.Errorf("%v through %s: counted %d others, not %d", list, path, len(got), len(counts))
	}
	for _, c := range got {
		var n int64
		for k := range maps.Values(counts[c.Other]) {
			n += k
		}
		if c.Links != n || c.DIDs != int64(len(counts[c.Other])) {
			return fmt.Errorf("%v through %s: %v, but the model counts %d links of %d accounts", list, path, c, n,
				len(counts[c.Other]))
		}
	}
	return nil
}

// walk pages to the end. Every page but the last is full.
func walk[T any](page func(after []byte) (db.Page[T], error), limit int) ([]T, error) {
	var all []T
	for after := []byte(nil); ; {
		p, err := page(after)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if p.Next == nil {
			return all, nil
		}
		if len(p.Items) != limit {
			return nil, fmt.Errorf("a page of %d items, not %d, has another after it", len(p.Items), limit)
		}
		if bytes.Equal(p.Next, after) {
			return nil, fmt.Errorf("the page after %x goes on from there again", after)
		}
		after = p.Next
	}
}
