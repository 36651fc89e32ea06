// Package conformance checks any server of blue.microcosm.links.*: shapes of answers, agreement of counts and lists,
// paging in both directions, filters, errors, CORS. It writes nothing. A fixture lists the known contents of the
// server.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// Fixture is the known contents of a server.
type Fixture struct {
	Lists []List `json:"lists"`
}

// List is the links to a subject from one source. Only Subject and Source are required; the other fields are checked if
// set. Checks may fail if the list changes during the run.
type List struct {
	Subject string   `json:"subject"`
	Source  string   `json:"source"`
	Total   *int     `json:"total"`   // links
	DIDs    *int     `json:"dids"`    // accounts
	Records []Record `json:"records"` // all records, newest first
	Other   string   `json:"other"`   // path to another link in the same records, for many-to-many
}

// Record names a record.
type Record = wire.Record

// Outcome is the result of a check.
type Outcome string

const (
	Passed  Outcome = "ok"
	Failed  Outcome = "FAILED"
	Differs Outcome = "differs" // a check of weft's additions to Constellation fails
	Skipped Outcome = "skipped"
)

// Result is a check with its result.
type Result struct {
	Name    string
	Outcome Outcome
	Detail  string
}

// Config names the server to check. URL is required.
type Config struct {
	URL     string       // without a path: https://constellation.microcosm.blue
	Fixture Fixture      // without lists, the checks that need one are skipped
	Client  *http.Client // nil: a client with a timeout of 30 seconds
	Agent   string       // User-Agent header; "": weft-conformance
}

// check is one check of the suite.
type check struct {
	name   string
	beyond bool // weft passes it, Constellation doesn't: docs/compatibility.md has the reason
	list   bool // the check runs once for each list
	do     func(*suite, List) error
}

type suite struct {
	Config
	ctx   context.Context
	table *lexicons.Table
}

var errSkip = errors.New("skipped")

func skip(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errSkip, fmt.Sprintf(format, args...))
}

// Run runs all checks in order and reports each result at once. It probes the server first, and returns an error if the
// server cannot be checked.
func Run(ctx context.Context, c Config, report func(Result)) error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not the URL of a server, such as https://constellation.microcosm.blue", c.URL)
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 30 * time.Second}
	}
	if c.Agent == "" {
		c.Agent = "weft-conformance"
	}
	s := &suite{Config: c, ctx: ctx, table: lexicons.Load()}
	err = s.probe()
	if err != nil {
		return err
	}
	for _, ch := range checks {
		lists := []List{{}}
		if ch.list {
			lists = c.Fixture.Lists
			if len(lists) == 0 {
				report(Result{ch.name, Skipped, "it needs a list: give --subject and --source, or --fixture"})
			}
		}
		for _, list := range lists {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r := Result{Name: ch.name, Outcome: Passed}
			switch err := ch.do(s, list); {
			case err == nil:
			case errors.Is(err, errSkip):
				r.Outcome = Skipped
				r.Detail = strings.TrimPrefix(err.Error(), errSkip.Error()+": ")
			case ch.beyond:
				r.Outcome = Differs
				r.Detail = err.Error()
			default:
				r.Outcome = Failed
				r.Detail = err.Error()
			}
			if ch.list {
				r.Name += ": " + list.Source + " of " + list.Subject
			}
			report(r)
		}
	}
	return nil
}

// probe requests one count. An unreachable server or one without the API is one error, not one per check.
func (s *suite) probe() error {
	tries := []struct {
		path string
		q    url.Values
	}{
		{routes.GetBacklinksCount.Path, nothing()},
		{routes.LinksCount.Path, url.Values{"target": {nowhere}, "collection": {"app.bsky.feed.like"},
			"path": {".subject.uri"}}},
	}
	var said []string
	for _, try := range tries {
		a, err := s.ask(http.MethodGet, try.path+"?"+try.q.Encode())
		if err != nil {
			return fmt.Errorf("cannot reach the server (is it running there?): %w", err)
		}
		if a.status == http.StatusOK {
			return nil
		}
		said = append(said, fmt.Sprintf("%d for %s", a.status, try.path))
	}
	return fmt.Errorf("%s has no backlink API: it answered %s", s.URL, strings.Join(said, " and "))
}

// answer is an answer of the server.
type answer struct {
	url    string
	status int
	header http.Header
	body   []byte
	json   any // nil: the body isn't JSON
}

func (a *answer) errorf(format string, args ...any) error {
	body := a.body
	if len(body) > 300 {
		body = body[:300]
	}
	return fmt.Errorf("%s\n    GET %s\n    %d %s", fmt.Sprintf(format, args...), a.url, a.status, body)
}

func (s *suite) ask(method, path string, headers ...string) (*answer, error) {
	r, err := http.NewRequestWithContext(s.ctx, method, s.URL+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", s.Agent)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	a := &answer{url: s.URL + path, status: res.StatusCode, header: res.Header}
	a.body, err = io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(a.body, &a.json) != nil {
		a.json = nil
	}
	return a, nil
}

// get requests a route and returns an error if the answer has another status or shape.
func (s *suite) get(path string, q url.Values, into any) (*answer, error) {
	a, err := s.ask(http.MethodGet, path+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return a, a.errorf("the status is not 200")
	}
	if a.json == nil {
		return a, a.errorf("the answer is not JSON")
	}
	if p := s.table.Check(s.table.At(path).Output.Schema, a.json, false); p != nil {
		return a, a.errorf("the answer has the wrong shape: %v", p)
	}
	if into != nil {
		if err := json.Unmarshal(a.body, into); err != nil {
			return a, a.errorf("the answer has the wrong shape: %v", err)
		}
	}
	return a, nil
}

// refused returns an error unless the answer is a 400.
func (s *suite) refused(path string, q url.Values) error {
	a, err := s.ask(http.MethodGet, path+"?"+q.Encode())
	if err == nil && a.status != http.StatusBadRequest {
		err = a.errorf("the status is not 400")
	}
	return err
}
