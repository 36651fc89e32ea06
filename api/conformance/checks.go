package conformance

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

const (
	nowhere = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/com.example.nothing/nothing"
	noDID   = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	likes   = "app.bsky.feed.like:subject.uri"
)

// checks are the checks of the suite, in order.
var checks = []check{
	{name: "a subject without links has empty answers", do: unknownSubject},
	{name: "a missing required parameter is a 400", do: missing},
	{name: "a limit over 1000 is a 400",
		do: func(s *suite, _ List) error { return s.refused(routes.GetBacklinks.Path, nothing("limit", "1001")) }},
	{name: "a limit that is not a number is a 400",
		do: func(s *suite, _ List) error { return s.refused(routes.GetBacklinks.Path, nothing("limit", "x")) }},
	{name: "a source without a colon is a 400", do: func(s *suite, _ List) error {
		return s.refused(routes.GetBacklinksCount.Path, url.Values{"subject": {nowhere}, "source": {"app.bsky.feed.like"}})
	}},
	{name: "did with from_dids is a 400", do: func(s *suite, _ List) error {
		return s.refused(routes.Links.Path,
			url.Values{"target": {nowhere}, "collection": {"app.bsky.feed.like"}, "path": {".subject.uri"}, "did": {noDID},
				"from_dids": {noDID}})
	}},
	{name: "unknown parameters are ignored", do: func(s *suite, _ List) error {
		_, err := s.get(routes.GetBacklinks.Path, nothing("utm_source", "x"), nil)
		return err
	}},
	{name: "an unknown XRPC method is not served", do: unknownMethod},
	{name: "any origin can read answers", do: cors},
	{name: "HEAD answers as GET, without the body", do: head},
	{name: "counts, totals and lists agree", list: true, do: agree},
	{name: "pages of any size give the same list", list: true, do: pages},
	{name: "accounts match the accounts of the records", list: true, do: accounts},
	{name: "did filters records and totals", list: true, do: filters},
	{name: "the older routes agree with XRPC", list: true, do: older},
	{name: "/links/all includes the list", list: true, do: all},
	{name: "an unencoded target is accepted", list: true, do: unencoded},
	{name: "many-to-many lists, counts and pages agree", list: true, do: many},

	{name: "errors are JSON and name the parameter", beyond: true, do: errorShape},
	{name: "a limit of 0 or less is a 400", beyond: true, do: func(s *suite, _ List) error {
		for _, limit := range []string{"0", "-1"} {
			if err := s.refused(routes.GetBacklinks.Path, nothing("limit", limit)); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "a damaged cursor is a 400", beyond: true, list: true, do: damaged},
	{name: "reverse visits every link once", beyond: true, list: true, do: reversed},
	{name: "spellings of one subject have the same count", beyond: true, list: true, do: spellings},
	{name: "a leading dot in a source is tolerated", beyond: true, list: true, do: dotted},
	{name: "an unknown XRPC method is a 501", beyond: true, do: func(s *suite, _ List) error {
		a, err := s.ask(http.MethodGet, routes.Prefix+"com.example.nothing")
		if err == nil && a.status != http.StatusNotImplemented {
			err = a.errorf("the status is not 501")
		}
		return err
	}},
	{name: "any origin can read errors and preflights", beyond: true, do: corsErrors},
	{name: "an unchanged answer is a 304", beyond: true, do: unchanged},
}

// nothing returns a query of a list without links, with additional parameters.
func nothing(more ...string) url.Values {
	q := url.Values{"subject": {nowhere}, "source": {likes}}
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	return q
}

func unknownSubject(s *suite, _ List) error {
	many := nothing("pathToOther", "subject")
	legacy := url.Values{"target": {nowhere}, "collection": {"app.bsky.feed.like"}, "path": {".subject.uri"}}
	for path, q := range map[string]url.Values{
		routes.GetBacklinksCount.Path: nothing(), routes.GetBacklinks.Path: nothing(), routes.GetBacklinkDIDs.Path: nothing(),
		routes.GetManyToMany.Path: many, routes.GetManyToManyCounts.Path: many,
		routes.Links.Path: legacy, routes.LinksDistinctDIDs.Path: legacy, routes.LinksCount.Path: legacy,
		routes.LinksCountDistinctDIDs.Path: legacy, routes.LinksAll.Path: legacy, routes.LinksAllCount.Path: legacy,
	} {
		a, err := s.get(path, q, nil)
		if err != nil {
			return err
		}
		members, _ := a.json.(map[string]any)
		for _, v := range members {
			if !empty(v) {
				return a.errorf("the answer is not empty")
			}
		}
	}
	return nil
}

// empty reports whether a value is zero, null or without members.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func missing(s *suite, _ List) error {
	for _, def := range s.table.Defs {
		if def.Parameters == nil || !strings.HasPrefix(def.ID, "blue.microcosm.") &&
			!strings.HasPrefix(def.Path, routes.Links.Path) {
			continue
		}
		full := url.Values{"subject": {nowhere}, "source": {likes}, "pathToOther": {"subject"}, "target": {nowhere},
			"collection": {"app.bsky.feed.like"}, "path": {".subject.uri"}}
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
	a, err := s.ask(http.MethodGet, routes.Prefix+"com.example.nothing")
	if err == nil && a.status != http.StatusNotFound && a.status != http.StatusNotImplemented {
		err = a.errorf("the status is neither 404 nor 501")
	}
	return err
}

func cors(s *suite, _ List) error {
	a, err := s.ask(http.MethodGet, routes.GetBacklinksCount.Path+"?"+nothing().Encode(), "Origin", "https://app.example")
	if err == nil && a.header.Get("Access-Control-Allow-Origin") != "*" {
		err = a.errorf("Access-Control-Allow-Origin is %q", a.header.Get("Access-Control-Allow-Origin"))
	}
	return err
}

func corsErrors(s *suite, _ List) error {
	a, err := s.ask(http.MethodGet, routes.GetBacklinksCount.Path, "Origin", "https://app.example")
	if err == nil && (a.status != 400 || a.header.Get("Access-Control-Allow-Origin") != "*") {
		return a.errorf("Access-Control-Allow-Origin is %q", a.header.Get("Access-Control-Allow-Origin"))
	}
	if err != nil {
		return err
	}
	a, err = s.ask(http.MethodOptions, routes.GetBacklinksCount.Path, "Origin", "https://app.example",
		"Access-Control-Request-Method", "GET")
	if err == nil && (a.status/100 != 2 || a.header.Get("Access-Control-Allow-Origin") != "*" ||
		a.header.Get("Access-Control-Allow-Methods") == "") {
		return a.errorf("the preflight has the headers %v", a.header)
	}
	return err
}

func head(s *suite, _ List) error {
	a, err := s.ask(http.MethodHead, routes.GetBacklinksCount.Path+"?"+nothing().Encode())
	if err == nil && (a.status != 200 || len(a.body) > 0) {
		err = a.errorf("the answer to HEAD has a body, or its status is not 200")
	}
	return err
}

func errorShape(s *suite, _ List) error {
	a, err := s.ask(http.MethodGet, routes.GetBacklinks.Path+"?subject="+url.QueryEscape(nowhere))
	if err != nil {
		return err
	}
	body, _ := a.json.(map[string]any)
	message, _ := body["message"].(string)
	if name, _ := body["error"].(string); name == "" || !strings.Contains(message, "source") {
		return a.errorf("the body is not {\"error\",\"message\"} with `source` in the message")
	}
	return nil
}

func damaged(s *suite, l List) error {
	var p wire.Backlinks
	a, err := s.get(routes.GetBacklinks.Path, l.query("limit", "1"), &p)
	if err != nil {
		return err
	}
	if p.Cursor == nil {
		return skip("the list has only one page")
	}
	text := *p.Cursor
	for i := range min(len(text), 20) {
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		if err := s.refused(routes.GetBacklinks.Path,
			l.query("limit", "1", "cursor", text[:i]+string(other)+text[i+1:])); err != nil {
			return fmt.Errorf("cursor damaged at byte %d: %w", i, err)
		}
	}
	if err := s.refused(routes.GetBacklinkDIDs.Path, l.query("limit", "1", "cursor", text)); err != nil {
		return fmt.Errorf("cursor of another method: %w", err)
	}
	_ = a
	return nil
}

func spellings(s *suite, l List) error {
	scheme, rest, ok := strings.Cut(l.Subject, "://")
	if !ok {
		return skip("a DID has one spelling")
	}
	var plain, upper wire.Total
	if _, err := s.get(routes.GetBacklinksCount.Path, l.query(), &plain); err != nil {
		return err
	}
	l.Subject = strings.ToUpper(scheme) + "://" + rest
	if _, err := s.get(routes.GetBacklinksCount.Path, l.query(), &upper); err != nil {
		return err
	}
	if plain.Total != upper.Total {
		return fmt.Errorf("%s has %d links, but %d in lower case", l.Subject, upper.Total, plain.Total)
	}
	return nil
}

func dotted(s *suite, l List) error {
	var plain, dotted wire.Total
	if _, err := s.get(routes.GetBacklinksCount.Path, l.query(), &plain); err != nil {
		return err
	}
	l.Source = strings.Replace(l.Source, ":", ":.", 1)
	if _, err := s.get(routes.GetBacklinksCount.Path, l.query(), &dotted); err != nil {
		return err
	}
	if plain.Total != dotted.Total {
		return fmt.Errorf("%s has %d links, but %d without the dot", l.Source, dotted.Total, plain.Total)
	}
	return nil
}

func unchanged(s *suite, _ List) error {
	path := routes.GetBacklinksCount.Path + "?" + nothing().Encode()
	a, err := s.ask(http.MethodGet, path)
	if err != nil {
		return err
	}
	tag := a.header.Get("ETag")
	if tag == "" {
		return a.errorf("the answer has no ETag")
	}
	a, err = s.ask(http.MethodGet, path, "If-None-Match", tag)
	if err == nil && a.status != http.StatusNotModified {
		err = a.errorf("the status is not 304")
	}
	return err
}
