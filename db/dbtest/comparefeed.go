package dbtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
)

// Feeds is what a store answers, and an index behind HTTP does not.
type Feeds interface {
	Feed(ctx context.Context, q db.FeedQuery) ([]db.AccountLink, error)
	FeedTotal(ctx context.Context, q db.FeedQuery) (int64, error)
	CountsSince(ctx context.Context, pairs []db.Pair, since int64) ([]int64, error)
}

var _ Feeds = (*db.Store)(nil)

// compareFeeds asks for the links to each target, of all sources and of one, to each account and to each site, and
// holds them against all lists.
func compareFeeds(ctx context.Context, x Feeds, lists map[List][]Link, depth Depth) error {
	compare := func(q db.FeedQuery, of ...List) error { return compareFeed(ctx, x, q, lists, of, depth) }
	targets := map[string][]List{}
	accounts := map[string][]List{}
	for list := range lists {
		targets[list.Target] = append(targets[list.Target], list)
		if did := Account(list.Target); did != "" {
			accounts[did] = append(accounts[did], list)
		}
	}
	for target, of := range targets {
		if !depth.asks(List{Target: target}) {
			continue
		}
		if err := compare(db.FeedQuery{Target: target}, of...); err != nil {
			return err
		}
	}
	for list, links := range lists {
		if !depth.asks(list) {
			continue
		}
		if err := compareSince(ctx, x, list, links, depth); err != nil {
			return err
		}
		q := db.FeedQuery{Target: list.Target, Sources: []db.Source{list.Source, list.Source}}
		if err := compare(q, list); err != nil {
			return err
		}
	}
	for did, of := range accounts {
		if !depth.asks(List{Target: did}) {
			continue
		}
		if err := compare(db.FeedQuery{DID: did}, of...); err != nil {
			return err
		}
	}
	for site, of := range listsOfSites(targets) {
		// Another site in the same question has no links.
		if err := compare(db.FeedQuery{Prefixes: []string{site, "https://nowhere.example/"}}, of...); err != nil {
			return err
		}
	}
	return nil
}

// listsOfSites returns the lists of the targets that begin like a site, of each site.
func listsOfSites(targets map[string][]List) map[string][]List {
	sites := map[string][]List{}
	var texts []string // targets that are no account's, in order
	for target := range targets {
		if _, _, _, ok := codec.SplitTarget(target); !ok {
			sites[siteOf(target)] = nil
			texts = append(texts, target)
		}
	}
	slices.Sort(texts)
	for site := range sites {
		first, _ := slices.BinarySearch(texts, site)
		for _, target := range texts[first:] {
			if !strings.HasPrefix(target, site) {
				break
			}
			sites[site] = append(sites[site], targets[target]...)
		}
	}
	return sites
}

// compareSince counts the links of a list from the time of one in its middle on.
func compareSince(ctx context.Context, x Feeds, list List, links []Link, depth Depth) error {
	at := links[len(links)/2].Rank
	if depth.Retimed || at == 0 || at > math.MaxInt64 {
		return nil // no time to ask with
	}
	want := int64(0)
	for _, l := range links {
		if l.Rank >= at {
			want++
		}
	}
	nowhere := db.Pair{Target: "https://nowhere.example/", Source: list.Source}
	counts, err := x.CountsSince(ctx, []db.Pair{nowhere, db.Pair(list)}, int64(at))
	if err == nil && (counts[0] != 0 || counts[1] != want) {
		err = fmt.Errorf("%v since %d: counted %v links, not 0 and %d", list, at, counts, want)
	}
	return err
}

// siteOf is the beginning of an address up to the slash after its host, or the first characters of any other text.
func siteOf(target string) string {
	_, rest, ok := strings.Cut(target, "://")
	host, _, slash := strings.Cut(rest, "/")
	if ok && slash {
		return target[:len(target)-len(rest)+len(host)+1]
	}
	return target[:min(4, len(target))]
}

// compareFeed holds a feed against the links of the lists that it is of: all of it, and its beginning.
func compareFeed(ctx context.Context, x Feeds, q db.FeedQuery, lists map[List][]Link, of []List, depth Depth) error {
	want := map[db.AccountLink]bool{}
	for _, list := range of {
		for _, l := range lists[list] {
			one := db.AccountLink{Record: l.Record, Path: list.Source.Path, Target: list.Target, TimeUS: int64(l.Rank)}
			if depth.Retimed {
				one.TimeUS = 0
			}
			want[one] = true
		}
	}
	total, err := x.FeedTotal(ctx, q)
	if err != nil {
		return err
	}
	if total != int64(len(want)) {
		return fmt.Errorf("%+v: counted %d links, not %d", q, total, len(want))
	}
	q.Limit = len(want) + 1
	all, err := x.Feed(ctx, q)
	if err != nil {
		return err
	}
	if len(all) != len(want) {
		return fmt.Errorf("%+v: fed %d links, not %d", q, len(all), len(want))
	}
	last := int64(math.MaxInt64)
	for _, l := range all {
		one := l
		if depth.Retimed {
			one.TimeUS = 0
		}
		if !want[one] || l.TimeUS > last {
			return fmt.Errorf("%+v: feeds %v, which does not link, was fed before or is out of place", q, l)
		}
		last = l.TimeUS
		delete(want, one)
	}
	q.Limit = depth.Page
	some, err := x.Feed(ctx, q)
	if err == nil && !slices.Equal(some, all[:min(len(all), depth.Page)]) {
		err = fmt.Errorf("%+v: is not the beginning of the whole feed", q)
	}
	return err
}
