package conformance

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
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
