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
)

const (
	xrpc    = "/xrpc/blue.microcosm.links."
	nowhere = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/com.example.nothing/nothing"
	nobody  = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	likes   = "app.bsky.feed.like:subject.uri"
)

// checks is the suite, in order.
var checks = []check{
	{name: "what nobody links to is an answer of nothing", do: unknownSubject},
	{name: "what is required and missing is a 400", do: missing},
	{name: "limit over 1000 is a 400", do: func(s *suite, _ List) error { return s.refused(xrpc+"getBacklinks", nothing("limit", "1001")) }},
	{name: "limit that is no number is a 400", do: func(s *suite, _ List) error { return s.refused(xrpc+"getBacklinks", nothing("limit", "x")) }},
	{name: "source without a colon is a 400", do: func(s *suite, _ List) error {
		return s.refused(xrpc+"getBacklinksCount", url.Values{"subject": {nowhere}, "source": {"app.bsky.feed.like"}})
	}},
	{name: "did with from_dids is a 400", do: func(s *suite, _ List) error {
		return s.refused("/links", url.Values{"target": {nowhere}, "collection": {"app.bsky.feed.like"}, "path": {".subject.uri"}, "did": {nobody}, "from_dids": {nobody}})
	}},
	{name: "parameters that nobody knows are ignored", do: func(s *suite, _ List) error {
		_, err := s.get(xrpc+"getBacklinks", nothing("utm_source", "x"), nil)
		return err
	}},
	{name: "an unknown XRPC method is not served", do: unknownMethod},
	{name: "any web page may read", do: cors},
	{name: "HEAD is GET without the body", do: head},
	{name: "counts, totals and lists agree", list: true, do: agree},
	{name: "pages of any size are one list", list: true, do: pages},
	{name: "accounts are those of the records", list: true, do: accounts},
	{name: "did filters, and totals count what is left", list: true, do: filters},
	{name: "the older routes say the same", list: true, do: older},
	{name: "/links/all has the list", list: true, do: all},
	{name: "a target needn't be encoded", list: true, do: unencoded},
	{name: "many-to-many lists and counts agree, and page", list: true, do: many},

	{name: "errors are JSON that names the parameter", beyond: true, do: errorShape},
	{name: "limit of 0 and below is a 400", beyond: true, do: func(s *suite, _ List) error {
		for _, limit := range []string{"0", "-1"} {
			if err := s.refused(xrpc+"getBacklinks", nothing("limit", limit)); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "a damaged cursor is a 400", beyond: true, list: true, do: damaged},
	{name: "reverse visits every link once", beyond: true, list: true, do: reversed},
	{name: "spellings of a subject are one subject", beyond: true, list: true, do: spellings},
	{name: "a leading dot in a source is tolerated", beyond: true, list: true, do: dotted},
	{name: "an unknown XRPC method is a 501", beyond: true, do: func(s *suite, _ List) error {
		a, err := s.ask(http.MethodGet, "/xrpc/com.example.nothing")
		if err == nil && a.status != http.StatusNotImplemented {
			err = a.errorf("the status is not 501")
		}
		return err
	}},
	{name: "any web page may read errors, and a preflight", beyond: true, do: corsErrors},
	{name: "an answer that is the same is a 304", beyond: true, do: unchanged},
}

// nothing asks for what nobody links to, and more.
func nothing(more ...string) url.Values {
	q := url.Values{"subject": {nowhere}, "source": {likes}}
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	return q
}

type page struct {
	Total       int
	Records     []Record
	Linking     []Record `json:"linking_records"`
	LinkingDIDs []string `json:"linking_dids"`
	Cursor      *string
}

func unknownSubject(s *suite, _ List) error {
	many := nothing("pathToOther", "subject")
	legacy := url.Values{"target": {nowhere}, "collection": {"app.bsky.feed.like"}, "path": {".subject.uri"}}
	for path, q := range map[string]url.Values{
		xrpc + "getBacklinksCount": nothing(), xrpc + "getBacklinks": nothing(), xrpc + "getBacklinkDids": nothing(),
		xrpc + "getManyToMany": many, xrpc + "getManyToManyCounts": many,
		"/links": legacy, "/links/distinct-dids": legacy, "/links/count": legacy, "/links/count/distinct-dids": legacy,
		"/links/all": legacy, "/links/all/count": legacy,
	} {
		var p page
		a, err := s.get(path, q, &p)
		if err != nil {
			return err
		}
		if p.Total != 0 || len(p.Records)+len(p.Linking)+len(p.LinkingDIDs) > 0 || p.Cursor != nil {
			return a.errorf("it is not empty")
		}
	}
	return nil
}

func missing(s *suite, _ List) error {
	for _, def := range s.table.Defs {
		if def.Parameters == nil || !strings.HasPrefix(def.Path, xrpc) && !strings.HasPrefix(def.Path, "/links") {
			continue
		}
		full := url.Values{"subject": {nowhere}, "source": {likes}, "pathToOther": {"subject"}, "target": {nowhere}, "collection": {"app.bsky.feed.like"}, "path": {".subject.uri"}}
		for _, name := range def.Parameters.Required {
			q := maps.Clone(full)
			q.Del(name)
			if err := s.refused(def.Path, q); err != nil {
				return fmt.Errorf("%s is missing: %w", name, err)
			}
		}
	}
	return nil
}

func unknownMethod(s *suite, _ List) error {
	a, err := s.ask(http.MethodGet, "/xrpc/com.example.nothing")
	if err == nil && a.status != http.StatusNotFound && a.status != http.StatusNotImplemented {
		err = a.errorf("the status is neither 404 nor 501")
	}
	return err
}

func cors(s *suite, _ List) error {
	a, err := s.ask(http.MethodGet, xrpc+"getBacklinksCount?"+nothing().Encode(), "Origin", "https://app.example")
	if err == nil && a.header.Get("Access-Control-Allow-Origin") != "*" {
		err = a.errorf("Access-Control-Allow-Origin is %q", a.header.Get("Access-Control-Allow-Origin"))
	}
	return err
}

func corsErrors(s *suite, _ List) error {
	a, err := s.ask(http.MethodGet, xrpc+"getBacklinksCount", "Origin", "https://app.example")
	if err == nil && (a.status != 400 || a.header.Get("Access-Control-Allow-Origin") != "*") {
		return a.errorf("Access-Control-Allow-Origin is %q", a.header.Get("Access-Control-Allow-Origin"))
	}
	if err != nil {
		return err
	}
	a, err = s.ask(http.MethodOptions, xrpc+"getBacklinksCount", "Origin", "https://app.example", "Access-Control-Request-Method", "GET")
	if err == nil && (a.status/100 != 2 || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Methods") == "") {
		return a.errorf("the preflight has the headers %v", a.header)
	}
	return err
}

func head(s *suite, _ List) error {
	a, err := s.ask(http.MethodHead, xrpc+"getBacklinksCount?"+nothing().Encode())
	if err == nil && (a.status != 200 || len(a.body) > 0) {
		err = a.errorf("the answer to HEAD has a body, or no status 200")
	}
	return err
}

func (l List) query(more ...string) url.Values {
	q := url.Values{"subject": {l.Subject}, "source": {l.Source}}
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	return q
}

// older asks the older routes for the same.
func (l List) older(more ...string) url.Values {
	collection, path, _ := strings.Cut(l.Source, ":")
	q := url.Values{"target": {l.Subject}, "collection": {collection}, "path": {"." + path}}
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	return q
}

// mostPages bounds a walk through a list that doesn't end.
const mostPages = 2000

// walk goes through all pages, and gives the items of each and the total of the first.
func walk[T any](s *suite, path string, q url.Values, limit int, items func(page) []T) (all []T, total int, err error) {
	q = maps.Clone(q)
	q.Set("limit", strconv.Itoa(limit))
	for n := range mostPages {
		var p page
		a, err := s.get(path, q, &p)
		if err != nil {
			return nil, 0, err
		}
		if n == 0 {
			total = p.Total
		}
		if len(items(p)) > limit {
			return nil, 0, a.errorf("the page has more than %d items", limit)
		}
		all = append(all, items(p)...)
		if p.Cursor == nil {
			return all, total, nil
		}
		q.Set("cursor", *p.Cursor)
	}
	return nil, 0, fmt.Errorf("%s has no end after %d pages of %d", path, mostPages, limit)
}

func records(p page) []Record { return append(p.Records, p.Linking...) }
func dids(p page) []string    { return p.LinkingDIDs }

// whole is the list in pages that are as large as can be.
func (s *suite) whole(l List) ([]Record, error) {
	all, total, err := walk(s, xrpc+"getBacklinks", l.query(), 1000, records)
	switch {
	case err != nil:
	case len(all) != total:
		err = fmt.Errorf("the total is %d, and %d are listed", total, len(all))
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
	var count page
	if _, err := s.get(xrpc+"getBacklinksCount", l.query(), &count); err != nil {
		return err
	}
	switch {
	case count.Total != len(all):
		return fmt.Errorf("%d are counted, and %d are listed", count.Total, len(all))
	case l.Total != nil && *l.Total != len(all):
		return fmt.Errorf("there are %d, and the fixture has %d", len(all), *l.Total)
	case l.Records != nil && !slices.Equal(l.Records, all):
		return fmt.Errorf("listed are\n    %v\n    and the fixture has\n    %v", all, l.Records)
	}
	return once(all)
}

// once wants every item once.
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
		got, _, err := walk(s, xrpc+"getBacklinks", l.query(), size, records)
		if err != nil {
			return err
		}
		if !slices.Equal(got, all) {
			return fmt.Errorf("in pages of %d, %d records come, and in one of 1000 %d, or in another order", size, len(got), len(all))
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
		got, _, err := walk(s, xrpc+"getBacklinks", l.query("reverse", "true"), size, records)
		if err != nil {
			return err
		}
		if !slices.Equal(got, all) {
			return fmt.Errorf("backwards in pages of %d, %d records come of %d, or in another order", size, len(got), len(all))
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
		return fmt.Errorf("the records are of %d accounts, and the fixture has %d", len(want), *l.DIDs)
	}
	for _, method := range []string{"getBacklinkDids", "getDistinct"} {
		for _, size := range []int{max(1, len(want)/20), 1000} {
			got, total, err := walk(s, xrpc+method, l.query(), size, dids)
			if err != nil {
				return err
			}
			if err := once(got); err != nil {
				return err
			}
			if total != len(want) || len(got) != len(want) {
				return fmt.Errorf("%s in pages of %d: the total is %d, %d are listed, and the records are of %d accounts", method, size, total, len(got), len(want))
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
		{[]string{one, all[0].DID, nobody, one}, func(did string) bool { return did == one || did == all[0].DID }},
		{[]string{one, ""}, func(did string) bool { return did == one }},
		{[]string{nobody}, func(string) bool { return false }},
	} {
		want := slices.DeleteFunc(slices.Clone(all), func(r Record) bool { return !c.keep(r.DID) })
		q := l.query()
		q["did"] = c.dids
		got, total, err := walk(s, xrpc+"getBacklinks", q, 2, records)
		if err != nil {
			return err
		}
		if total != len(want) || !slices.Equal(got, want) {
			return fmt.Errorf("of %v: the total is %d, %d are listed, and %d are theirs", c.dids, total, len(got), len(want))
		}
	}
	return nil
}

func older(s *suite, l List) error {
	all, err := s.whole(l)
	if err != nil {
		return err
	}
	got, total, err := walk(s, "/links", l.older(), max(1, len(all)/5), records)
	if err != nil {
		return err
	}
	if total != len(all) || !slices.Equal(got, all) {
		return fmt.Errorf("/links has a total of %d and lists %d, getBacklinks %d", total, len(got), len(all))
	}
	ofOne, total, err := walk(s, "/links", l.older("from_dids", all[0].DID+","+nobody), 100, records)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(ofOne, func(r Record) bool { return r.DID != all[0].DID }) || total != len(ofOne) || total == 0 {
		return fmt.Errorf("/links with from_dids has a total of %d and lists %v", total, ofOne)
	}
	accounts, distinct, err := walk(s, "/links/distinct-dids", l.older(), 1000, dids)
	if err != nil {
		return err
	}
	var count, countDIDs page
	if _, err := s.get("/links/count", l.older(), &count); err != nil {
		return err
	}
	if _, err := s.get("/links/count/distinct-dids", l.older(), &countDIDs); err != nil {
		return err
	}
	if count.Total != len(all) || countDIDs.Total != len(accounts) || distinct != len(accounts) {
		return fmt.Errorf("counted are %d records and %d accounts, listed %d and %d", count.Total, countDIDs.Total, len(all), len(accounts))
	}
	return nil
}

func all(s *suite, l List) error {
	records, err := s.whole(l)
	if err != nil {
		return err
	}
	collection, path, _ := strings.Cut(l.Source, ":")
	var a struct {
		Links map[string]map[string]struct {
			Records      int
			DistinctDIDs int `json:"distinct_dids"`
		}
	}
	if _, err := s.get("/links/all", url.Values{"target": {l.Subject}}, &a); err != nil {
		return err
	}
	var counts struct{ Links map[string]map[string]int }
	if _, err := s.get("/links/all/count", url.Values{"target": {l.Subject}}, &counts); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, r := range records {
		seen[r.DID] = true
	}
	if got := a.Links[collection]["."+path]; got.Records != len(records) || got.DistinctDIDs != len(seen) || counts.Links[collection]["."+path] != len(records) {
		return fmt.Errorf("/links/all says %+v, /links/all/count %d, and there are %d records of %d accounts", got, counts.Links[collection]["."+path], len(records), len(seen))
	}
	return nil
}

func unencoded(s *suite, l List) error {
	if strings.ContainsAny(l.Subject, "&#+% ") {
		return skip("the subject can't stand in a query as it is")
	}
	a, err := s.ask(http.MethodGet, "/links/all?target="+l.Subject)
	if err == nil && (a.status != 200 || !strings.Contains(string(a.body), `"records"`)) {
		err = a.errorf("the list is not there")
	}
	return err
}

func many(s *suite, l List) error {
	if l.Other == "" {
		return skip("the fixture has no other path")
	}
	type item struct {
		LinkRecord   Record
		OtherSubject string
	}
	ask := func(limit int, more ...string) (items []item, err error) {
		q := l.query(append([]string{"pathToOther", l.Other, "limit", strconv.Itoa(limit)}, more...)...)
		for range mostPages {
			var p struct {
				Items  []item
				Cursor *string
			}
			if _, err := s.get(xrpc+"getManyToMany", q, &p); err != nil {
				return nil, err
			}
			if items = append(items, p.Items...); p.Cursor == nil {
				return items, once(items)
			}
			q.Set("cursor", *p.Cursor)
		}
		return nil, fmt.Errorf("getManyToMany has no end")
	}
	items, err := ask(1000)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return fmt.Errorf("the records of the fixture link to nothing at %s", l.Other)
	}
	some, err := ask(max(1, len(items)/10))
	if err != nil {
		return err
	}
	if !slices.Equal(items, some) {
		return fmt.Errorf("in small pages %d items come, in large ones %d, or in another order", len(some), len(items))
	}
	filtered, err := ask(1000, "linkDid", items[0].LinkRecord.DID, "otherSubject", items[0].OtherSubject)
	if err != nil {
		return err
	}
	if len(filtered) == 0 || slices.ContainsFunc(filtered, func(i item) bool {
		return i.LinkRecord.DID != items[0].LinkRecord.DID || i.OtherSubject != items[0].OtherSubject
	}) {
		return fmt.Errorf("filtered by account and other subject, %v come", filtered)
	}
	none, err := ask(1000, "linkDid", nobody)
	if err != nil {
		return err
	}
	if len(none) > 0 {
		return fmt.Errorf("of an account that has none, %v come", none)
	}
	want := map[string]int{}
	for _, i := range items {
		want[i.OtherSubject]++
	}
	got := map[string]int{}
	q := l.query("pathToOther", l.Other, "limit", strconv.Itoa(max(1, len(want)/4)))
	for range mostPages {
		var p struct {
			Counts []struct {
				Subject         string
				Total, Distinct int
			} `json:"counts_by_other_subject"`
			Cursor *string
		}
		if _, err := s.get(xrpc+"getManyToManyCounts", q, &p); err != nil {
			return err
		}
		for _, c := range p.Counts {
			if got[c.Subject] != 0 || c.Distinct < 1 || c.Distinct > c.Total {
				return fmt.Errorf("getManyToManyCounts has %+v, or has it twice", c)
			}
			got[c.Subject] = c.Total
		}
		if p.Cursor == nil {
			break
		}
		q.Set("cursor", *p.Cursor)
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("getManyToManyCounts has %d other subjects, getManyToMany %d, or other counts", len(got), len(want))
	}
	return nil
}

func errorShape(s *suite, _ List) error {
	a, err := s.ask(http.MethodGet, xrpc+"getBacklinks?subject="+url.QueryEscape(nowhere))
	if err != nil {
		return err
	}
	body, _ := a.json.(map[string]any)
	message, _ := body["message"].(string)
	if name, _ := body["error"].(string); name == "" || !strings.Contains(message, "source") {
		return a.errorf("it is not {\"error\",\"message\"} that names `source`")
	}
	return nil
}

func damaged(s *suite, l List) error {
	var p page
	a, err := s.get(xrpc+"getBacklinks", l.query("limit", "1"), &p)
	if err != nil {
		return err
	}
	if p.Cursor == nil {
		return skip("the list has one page only")
	}
	text := *p.Cursor
	for i := range min(len(text), 20) {
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		if err := s.refused(xrpc+"getBacklinks", l.query("limit", "1", "cursor", text[:i]+string(other)+text[i+1:])); err != nil {
			return fmt.Errorf("damaged at its byte %d: %w", i, err)
		}
	}
	if err := s.refused(xrpc+"getBacklinkDids", l.query("limit", "1", "cursor", text)); err != nil {
		return fmt.Errorf("taken to another method: %w", err)
	}
	_ = a
	return nil
}

func spellings(s *suite, l List) error {
	scheme, rest, ok := strings.Cut(l.Subject, "://")
	if !ok {
		return skip("a DID has one spelling")
	}
	var plain, upper page
	if _, err := s.get(xrpc+"getBacklinksCount", l.query(), &plain); err != nil {
		return err
	}
	l.Subject = strings.ToUpper(scheme) + "://" + rest
	if _, err := s.get(xrpc+"getBacklinksCount", l.query(), &upper); err != nil {
		return err
	}
	if plain.Total != upper.Total {
		return fmt.Errorf("%s has %d, and in lower case %d", l.Subject, upper.Total, plain.Total)
	}
	return nil
}

func dotted(s *suite, l List) error {
	var plain, dotted page
	if _, err := s.get(xrpc+"getBacklinksCount", l.query(), &plain); err != nil {
		return err
	}
	l.Source = strings.Replace(l.Source, ":", ":.", 1)
	if _, err := s.get(xrpc+"getBacklinksCount", l.query(), &dotted); err != nil {
		return err
	}
	if plain.Total != dotted.Total {
		return fmt.Errorf("%s has %d, and without the dot %d", l.Source, dotted.Total, plain.Total)
	}
	return nil
}

func unchanged(s *suite, _ List) error {
	path := xrpc + "getBacklinksCount?" + nothing().Encode()
	a, err := s.ask(http.MethodGet, path)
	if err != nil {
		return err
	}
	tag := a.header.Get("ETag")
	if tag == "" {
		return a.errorf("there is no ETag")
	}
	if a, err = s.ask(http.MethodGet, path, "If-None-Match", tag); err == nil && a.status != http.StatusNotModified {
		err = a.errorf("the status is not 304")
	}
	return err
}
