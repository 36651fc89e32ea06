package conformance

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// The checks below compare counts, pages and filters of lists.

func (l List) query(more ...string) url.Values {
	q := url.Values{"subject": {l.Subject}, "source": {l.Source}}
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	return q
}

// older returns the same query for the older routes.
func (l List) older(more ...string) url.Values {
	collection, path, _ := strings.Cut(l.Source, ":")
	q := url.Values{"target": {l.Subject}, "collection": {collection}, "path": {"." + path}}
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	return q
}

// mostPages bounds the walk of a list without a last page.
const mostPages = 2000

// listing is a page of a list.
type listing[T any] struct {
	items  []T
	total  int64
	cursor *string
}

// walk reads all pages of a list, and returns their items and the total of the first page. of converts an answer of
// type A.
func walk[T, A any](s *suite, path string, q url.Values, limit int, of func(*A) listing[T]) (all []T, total int,
	err error) {
	q = maps.Clone(q)
	q.Set("limit", strconv.Itoa(limit))
	for n := range mostPages {
		var answered A
		a, err := s.get(path, q, &answered)
		if err != nil {
			return nil, 0, err
		}
		page := of(&answered)
		if n == 0 {
			total = int(page.total)
		}
		if len(page.items) > limit {
			return nil, 0, a.errorf("the page has more than %d items", limit)
		}
		all = append(all, page.items...)
		if page.cursor == nil {
			return all, total, nil
		}
		q.Set("cursor", *page.cursor)
	}
	return nil, 0, fmt.Errorf("%s: no last page after %d pages of %d", path, mostPages, limit)
}

func backlinks(a *wire.Backlinks) listing[Record] {
	return listing[Record]{a.Records, a.Total, a.Cursor}
}

func linkingRecords(a *wire.LinkingRecords) listing[Record] {
	return listing[Record]{a.LinkingRecords, a.Total, a.Cursor}
}

func linkingDIDs(a *wire.LinkingDIDs) listing[string] {
	return listing[string]{a.LinkingDIDs, a.Total, a.Cursor}
}

func manyItems(a *wire.ManyToMany) listing[wire.ManyToManyItem] {
	return listing[wire.ManyToManyItem]{items: a.Items, cursor: a.Cursor}
}

func otherCounts(a *wire.ManyToManyCounts) listing[wire.OtherCount] {
	return listing[wire.OtherCount]{items: a.Counts, cursor: a.Cursor}
}

// whole returns the list, read in pages of the largest size.
func (s *suite) whole(l List) ([]Record, error) {
	all, total, err := walk(s, routes.GetBacklinks.Path, l.query(), 1000, backlinks)
	switch {
	case err != nil:
	case len(all) != total:
		err = fmt.Errorf("the total is %d, but %d are listed", total, len(all))
	case len(all) == 0:
		err = errEmpty
	}
	return all, err
}

var errEmpty = errors.New("the list of the fixture is empty")

func agree(s *suite, l List) error {
	all, err := s.whole(l)
	if err != nil {
		return err
	}
	var count wire.Total
	if _, err := s.get(routes.GetBacklinksCount.Path, l.query(), &count); err != nil {
		return err
	}
	switch {
	case int(count.Total) != len(all):
		return fmt.Errorf("the count is %d, but %d are listed", count.Total, len(all))
	case l.Total != nil && *l.Total != len(all):
		return fmt.Errorf("the list has %d records, but the fixture has %d", len(all), *l.Total)
	case l.Records != nil && !slices.Equal(l.Records, all):
		return fmt.Errorf("the list is\n    %v\n    but the fixture has\n    %v", all, l.Records)
	}
	return once(all)
}

// once returns an error if an item occurs twice.
func once[T comparable](all []T) error {
	seen := map[T]bool{}
	for _, item := range all {
		if seen[item] {
			return fmt.Errorf("%v comes twice", item)
		}
		seen[item] = true
	}
	return nil
}

func pages(s *suite, l List) error {
	all, err := s.whole(l)
	if err != nil {
		return err
	}
	for _, size := range []int{max(1, len(all)/50), max(2, len(all)/7), max(3, len(all)/2), 100} {
		got, _, err := walk(s, routes.GetBacklinks.Path, l.query(), size, backlinks)
		if err != nil {
			return err
		}
		if !slices.Equal(got, all) {
			return fmt.Errorf("pages of %d have %d records, but a page of 1000 has %d, or the order differs", size, len(got),
				len(all))
		}
	}
	return nil
}

func reversed(s *suite, l List) error {
	all, err := s.whole(l)
	if err != nil {
		return err
	}
	slices.Reverse(all)
	for _, size := range []int{max(1, len(all)/50), max(2, len(all)/3), 1000} {
		got, _, err := walk(s, routes.GetBacklinks.Path, l.query("reverse", "true"), size, backlinks)
		if err != nil {
			return err
		}
		if !slices.Equal(got, all) {
			return fmt.Errorf("reverse pages of %d have %d of %d records, or the order differs", size, len(got), len(all))
		}
	}
	return nil
}

func accounts(s *suite, l List) error {
	all, err := s.whole(l)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, r := range all {
		want[r.DID] = true
	}
	if l.DIDs != nil && *l.DIDs != len(want) {
		return fmt.Errorf("the records have %d accounts, but the fixture has %d", len(want), *l.DIDs)
	}
	for _, path := range []string{routes.GetBacklinkDIDs.Path, routes.GetDistinct.Path} {
		for _, size := range []int{max(1, len(want)/20), 1000} {
			got, total, err := walk(s, path, l.query(), size, linkingDIDs)
			if err != nil {
				return err
			}
			if err := once(got); err != nil {
				return err
			}
			if total != len(want) || len(got) != len(want) {
				return fmt.Errorf("%s in pages of %d: the total is %d, %d are listed, but the records have %d accounts", path,
					size, total, len(got), len(want))
			}
		}
	}
	return nil
}

func filters(s *suite, l List) error {
	all, err := s.whole(l)
	if err != nil {
		return err
	}
	one := all[len(all)/2].DID
	for _, c := range []struct {
		dids []string
		keep func(did string) bool
	}{
		{[]string{one}, func(did string) bool { return did == one }},
		{[]string{one, all[0].DID, noDID, one}, func(did string) bool { return did == one || did == all[0].DID }},
		{[]string{one, ""}, func(did string) bool { return did == one }},
		{[]string{noDID}, func(string) bool { return false }},
	} {
		want := slices.DeleteFunc(slices.Clone(all), func(r Record) bool { return !c.keep(r.DID) })
		q := l.query()
		q["did"] = c.dids
		got, total, err := walk(s, routes.GetBacklinks.Path, q, 2, backlinks)
		if err != nil {
			return err
		}
		if total != len(want) || !slices.Equal(got, want) {
			return fmt.Errorf("with did %v: the total is %d and %d are listed, but the whole list has %d", c.dids, total,
				len(got), len(want))
		}
	}
	return nil
}

func older(s *suite, l List) error {
	all, err := s.whole(l)
	if err != nil {
		return err
	}
	got, total, err := walk(s, routes.Links.Path, l.older(), max(1, len(all)/5), linkingRecords)
	if err != nil {
		return err
	}
	if total != len(all) || !slices.Equal(got, all) {
		return fmt.Errorf("/links has a total of %d and lists %d, but getBacklinks lists %d", total, len(got), len(all))
	}
	ofOne, total, err := walk(s, routes.Links.Path, l.older("from_dids", all[0].DID+","+noDID), 100, linkingRecords)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(ofOne, func(r Record) bool { return r.DID != all[0].DID }) || total != len(ofOne) ||
		total == 0 {
		return fmt.Errorf("/links with from_dids has a total of %d and lists %v", total, ofOne)
	}
	accounts, distinct, err := walk(s, routes.LinksDistinctDIDs.Path, l.older(), 1000, linkingDIDs)
	if err != nil {
		return err
	}
	var count, countDIDs wire.Total
	if _, err := s.get(routes.LinksCount.Path, l.older(), &count); err != nil {
		return err
	}
	if _, err := s.get(routes.LinksCountDistinctDIDs.Path, l.older(), &countDIDs); err != nil {
		return err
	}
	if int(count.Total) != len(all) || int(countDIDs.Total) != len(accounts) || distinct != len(accounts) {
		return fmt.Errorf("the counts are %d records and %d accounts, but %d and %d are listed", count.Total, countDIDs.Total,
			len(all), len(accounts))
	}
	return nil
}

func all(s *suite, l List) error {
	records, err := s.whole(l)
	if err != nil {
		return err
	}
	collection, path, _ := strings.Cut(l.Source, ":")
	var a wire.BySource[wire.SourceTotals]
	if _, err := s.get(routes.LinksAll.Path, url.Values{"target": {l.Subject}}, &a); err != nil {
		return err
	}
	var counts wire.BySource[int64]
	if _, err := s.get(routes.LinksAllCount.Path, url.Values{"target": {l.Subject}}, &counts); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, r := range records {
		seen[r.DID] = true
	}
	got := a.Links[collection]["."+path]
	count := counts.Links[collection]["."+path]
	if int(got.Records) != len(records) || int(got.DistinctDIDs) != len(seen) || int(count) != len(records) {
		return fmt.Errorf("/links/all has %+v and /links/all/count has %d, but the list has %d records of %d accounts",
			got, count, len(records), len(seen))
	}
	return nil
}

func unencoded(s *suite, l List) error {
	if strings.ContainsAny(l.Subject, "&#+% ") {
		return skip("the subject needs percent-encoding")
	}
	a, err := s.ask(http.MethodGet, routes.LinksAll.Path+"?target="+l.Subject)
	if err == nil && (a.status != 200 || !strings.Contains(string(a.body), `"records"`)) {
		err = a.errorf("the answer lacks the list")
	}
	return err
}

func many(s *suite, l List) error {
	if l.Other == "" {
		return skip("the list has no other path: give --other")
	}
	items, err := manyPages(s, l, 1000)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return fmt.Errorf("the records have no links at %s", l.Other)
	}
	some, err := manyPages(s, l, max(1, len(items)/10))
	if err != nil {
		return err
	}
	if !slices.Equal(items, some) {
		return fmt.Errorf("small pages have %d items, but large pages have %d, or the order differs", len(some), len(items))
	}
	err = manyFiltered(s, l, items[0])
	if err != nil {
		return err
	}
	return manyCounts(s, l, items)
}

// manyPages reads all pages of getManyToMany with these further parameters.
func manyPages(s *suite, l List, limit int, more ...string) ([]wire.ManyToManyItem, error) {
	q := l.query(append([]string{"pathToOther", l.Other}, more...)...)
	items, _, err := walk(s, routes.GetManyToMany.Path, q, limit, manyItems)
	if err != nil {
		return nil, err
	}
	return items, once(items)
}

// manyFiltered compares the filters by account and by other subject with an item of the whole list.
func manyFiltered(s *suite, l List, one wire.ManyToManyItem) error {
	filtered, err := manyPages(s, l, 1000, "linkDid", one.LinkRecord.DID, "otherSubject", one.OtherSubject)
	if err != nil {
		return err
	}
	if len(filtered) == 0 || slices.ContainsFunc(filtered, func(i wire.ManyToManyItem) bool {
		return i.LinkRecord.DID != one.LinkRecord.DID || i.OtherSubject != one.OtherSubject
	}) {
		return fmt.Errorf("a filter by account and other subject gives %v", filtered)
	}
	none, err := manyPages(s, l, 1000, "linkDid", noDID)
	if err != nil {
		return err
	}
	if len(none) > 0 {
		return fmt.Errorf("a filter by an account without links gives %v", none)
	}
	return nil
}

// manyCounts compares the counts by other subject with the items of the whole list.
func manyCounts(s *suite, l List, items []wire.ManyToManyItem) error {
	want := map[string]int64{}
	for _, i := range items {
		want[i.OtherSubject]++
	}
	q := l.query("pathToOther", l.Other)
	counts, _, err := walk(s, routes.GetManyToManyCounts.Path, q, max(1, len(want)/4), otherCounts)
	if err != nil {
		return err
	}
	got := map[string]int64{}
	for _, c := range counts {
		if got[c.Subject] != 0 || c.Distinct < 1 || c.Distinct > c.Total {
			return fmt.Errorf("getManyToManyCounts has %+v, which is wrong or a duplicate", c)
		}
		got[c.Subject] = c.Total
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("getManyToManyCounts has %d other subjects, but getManyToMany has %d, or the counts differ",
			len(got), len(want))
	}
	return nil
}
