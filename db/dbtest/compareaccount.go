package dbtest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// compareSpans cuts a list in two at the time of a link in its middle, and holds each half against the model.
func compareSpans(ctx context.Context, x Index, list List, want []Link, page int) error {
	at := want[len(want)/2].Rank
	if at == 0 || at > math.MaxInt64 {
		return nil // no time to ask with
	}
	newer := func(l Link) bool { return l.Rank >= at }
	for _, half := range []struct {
		q    db.ListQuery
		want []Link
	}{
		{db.ListQuery{Since: int64(at)}, slices.DeleteFunc(slices.Clone(want), func(l Link) bool { return !newer(l) })},
		{db.ListQuery{Until: int64(at)}, slices.DeleteFunc(slices.Clone(want), newer)},
		{db.ListQuery{Since: int64(at), Until: int64(at)}, nil},
	} {
		q := half.q
		q.Target = list.Target
		q.Source = list.Source
		q.Limit = page
		for _, q.Reverse = range []bool{false, true} {
			got, err := walk(func(after []byte) (db.Page[db.Record], error) {
				q.After = after
				p, err := x.Links(ctx, q)
				if err == nil && p.Total != int64(len(half.want)) {
					err = fmt.Errorf("a page's total is %d, not %d", p.Total, len(half.want))
				}
				return p, err
			}, page)
			if q.Reverse {
				slices.Reverse(got)
			}
			if err == nil {
				err = sameOrder(got, half.want)
			}
			if err != nil {
				return fmt.Errorf("%v since %d until %d (reverse %t): %w", list, q.Since, q.Until, q.Reverse, err)
			}
		}
		q.Reverse = false
		if err := compareDIDs(ctx, x, list, half.want, q); err != nil {
			return fmt.Errorf("since %d until %d: %w", q.Since, q.Until, err)
		}
	}
	return nil
}

// compareBatch counts all lists in one call, and one that there is not.
func compareBatch(ctx context.Context, x Index, lists map[List][]Link) error {
	pairs := []db.Pair{{Target: "https://nowhere.example/", Source: db.Source{Collection: "com.example.nothing",
		Path: "x"}}}
	for list := range lists {
		pairs = append(pairs, db.Pair(list))
	}
	pairs = append(pairs, pairs[len(pairs)/2:]...) // some are asked for twice
	pauses := 0
	counts, err := x.Counts(ctx, pairs, func() error { pauses++; return nil })
	if err != nil {
		return err
	}
	if most := len(pairs) / db.PairsAtOnce; pauses > most {
		return fmt.Errorf("%d pairs were counted with %d pauses, more than %d", len(pairs), pauses, most)
	}
	for i, p := range pairs {
		if want := (db.PairCount{Links: int64(len(lists[List(p)])), DIDs: DIDs(lists[List(p)])}); counts[i] != want {
			return fmt.Errorf("%v: counted %v in a batch, not %v", p, counts[i], want)
		}
	}
	return nil
}

// Account is the account that a target belongs to; empty when it belongs to none.
func Account(target string) string {
	if link.ValidDID(target) {
		return target
	}
	did, _, _, _ := link.SplitRecord(target)
	return did
}

// accountLink is a link to an account, with its list.
type accountLink struct {
	list List
	link Link
}

// compareAccounts walks the links to each account, of all sources, of each and within a span, and holds them against
// all lists of its targets.
func compareAccounts(ctx context.Context, x Index, lists map[List][]Link, depth Depth) error {
	accounts := map[string][]accountLink{"did:plc:nobody": nil}
	for list, links := range lists {
		did := Account(list.Target)
		if did == "" {
			continue
		}
		for _, l := range links {
			accounts[did] = append(accounts[did], accountLink{list, l})
		}
	}
	for did, all := range accounts {
		if !depth.asks(List{Target: did}) {
			continue
		}
		counts := map[db.Source]int64{}
		for _, l := range all {
			counts[l.list.Source]++
		}
		err := compareAccountSources(ctx, x, did, counts, depth.Page)
		if err != nil {
			return err
		}
		queries := accountQueries(all, counts, depth)
		for _, q := range queries {
			q.DID = did
			q.Limit = depth.Page
			err := compareAccount(ctx, x, q, all, depth)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// compareAccountSources holds the count of the links to an account from each source against the model's.
func compareAccountSources(ctx context.Context, x Index, did string, counts map[db.Source]int64, limit int) error {
	total := int64(0)
	for _, n := range counts {
		total += n
	}
	got, err := walk(func(after []byte) (db.Page[db.AccountCount], error) {
		page, err := x.AccountSources(ctx, db.SourcesQuery{Of: did, Limit: limit, After: after})
		if err == nil && page.Total != total {
			err = fmt.Errorf("%s: the index counts %d links in all, the model %d", did, page.Total, total)
		}
		return page, err
	}, limit)
	if err != nil {
		return err
	}
	if len(got) != len(counts) {
		return fmt.Errorf("%s: the index has links from %d sources, the model from %d", did, len(got), len(counts))
	}
	for _, c := range got {
		if c.Links != counts[c.Source] {
			return fmt.Errorf("%s from %v: the index counts %d links, the model %d", did, c.Source, c.Links,
				counts[c.Source])
		}
	}
	return nil
}

// accountQueries returns queries of all links to an account, of no source, of each source and of spans of time.
func accountQueries(all []accountLink, counts map[db.Source]int64, depth Depth) []db.AccountQuery {
	queries := []db.AccountQuery{{}, {Sources: []db.Source{}}}
	nothing := db.Source{Collection: "com.example.nothing", Path: "x"}
	for source := range counts {
		queries = append(queries, db.AccountQuery{Sources: []db.Source{source, nothing}})
	}
	if depth.Retimed || len(all) == 0 {
		return queries
	}
	newest := slices.MaxFunc(all, func(a, b accountLink) int { return cmp.Compare(a.link.Rank, b.link.Rank) })
	// Any link's time, and the newest one's: its run may be passed over.
	for _, at := range []int64{int64(all[0].link.Rank), int64(newest.link.Rank)} {
		if at <= 0 || at == math.MaxInt64 {
			continue
		}
		queries = append(queries,
			db.AccountQuery{Since: at}, db.AccountQuery{Until: at}, db.AccountQuery{Since: at, Until: at + 1})
	}
	return queries
}

// compareAccount walks the links that a query selects of all links to its account, and holds them against the model's.
func compareAccount(ctx context.Context, x Index, q db.AccountQuery, all []accountLink, depth Depth) error {
	want := map[db.AccountLink]bool{}
	for _, l := range all {
		us := int64(l.link.Rank)
		if q.Sources != nil && !slices.Contains(q.Sources, l.list.Source) ||
			us < q.Since || q.Until != 0 && us >= q.Until {
			continue
		}
		if depth.Retimed {
			us = 0
		}
		want[db.AccountLink{Record: l.link.Record, Path: l.list.Source.Path, Target: l.list.Target, TimeUS: us}] = true
	}
	links, err := walk(func(after []byte) (db.Page[db.AccountLink], error) {
		q.After = after
		p, err := x.AccountLinks(ctx, q)
		if depth.Retimed {
			for i := range p.Items {
				p.Items[i].TimeUS = 0
			}
		}
		return p, err
	}, depth.Page)
	if err != nil {
		return err
	}
	if len(links) != len(want) {
		return fmt.Errorf("%+v: listed %d links, not %d", q, len(links), len(want))
	}
	last := int64(math.MaxInt64)
	for _, l := range links {
		if !want[l] || l.TimeUS > last {
			return fmt.Errorf("%+v: lists %v, which does not link, was listed before or is out of place", q, l)
		}
		last = l.TimeUS
		delete(want, l)
	}
	return nil
}
