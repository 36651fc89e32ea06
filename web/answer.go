package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// answer is an answer of the API to a query of a page.
type answer struct {
	server  *Server
	request *http.Request // of the visitor
	path    string
	query   string // encoded
	status  int
	header  http.Header
	body    []byte
}

// ask queries the API in this process.
func (s *Server) ask(r *http.Request, path, query string) *answer {
	return s.do(r, http.MethodGet, path, query, nil)
}

// do sends a request to the API, with JSON if there is a body.
func (s *Server) do(r *http.Request, method, path, query string, body []byte) *answer {
	q := r.Clone(r.Context())
	q.Method = method
	q.Body = http.NoBody
	q.ContentLength = 0
	if body != nil {
		q.Body = io.NopCloser(bytes.NewReader(body))
		q.ContentLength = int64(len(body))
		q.Header.Set("Content-Type", "application/json")
	}
	q.URL = &url.URL{Path: path, RawQuery: query}
	q.RequestURI = q.URL.RequestURI()
	q.Header.Set("Accept", "application/json")
	// The page needs the uncompressed body.
	q.Header.Del("Accept-Encoding")
	q.Header.Del("If-None-Match")
	w := &recorder{header: http.Header{}}
	permit := permitOf(r.Context())
	permit.give()
	s.API.ServeHTTP(w, q)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if permit != nil {
		if err := permit.take(); err != nil {
			w = &recorder{header: http.Header{"Retry-After": {"1"}}, status: http.StatusServiceUnavailable}
		}
	}
	return &answer{server: s, request: r, path: path, query: query, status: w.status, header: w.header,
		body: w.body.Bytes()}
}

// get queries the API for another part of the page and decodes the answer into v. A refusal of the API is an error.
func (a *answer) get(v any, route *routes.Route, pairs ...string) error {
	b := a.server.ask(a.request, route.Path, form(pairs...))
	if b.status != http.StatusOK {
		return b.problem()
	}
	return b.decode(v)
}

// getWithin is get with a timeout.
func (a *answer) getWithin(d time.Duration, v any, route *routes.Route, pairs ...string) error {
	// It cancels the context, as when a visitor leaves: a deadline would count as a failure of the API.
	ctx, cancel := context.WithCancel(a.request.Context())
	defer cancel()
	defer time.AfterFunc(d, cancel).Stop()
	b := *a
	b.request = a.request.WithContext(ctx)
	return b.get(v, route, pairs...)
}

func (a *answer) decode(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("web: the answer at %s: %w", a.path, err)
	}
	return nil
}

// param returns a parameter of the query; empty if it is absent.
func (a *answer) param(name string) string { return a.params().Get(name) }

func (a *answer) params() url.Values {
	// The API refuses a query that can't be decoded.
	v, _ := url.ParseQuery(a.query)
	return v
}

func (a *answer) isJSON() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "application/json")
}

// problem returns the failure in the answer.
func (a *answer) problem() problem {
	p := problem{Status: a.status}
	if a.isJSON() {
		_ = json.Unmarshal(a.body, &p) // without JSON, the status describes the failure
	}
	return p
}

// keepHeaders copies the API's headers about limits.
func (a *answer) keepHeaders(w http.ResponseWriter) {
	for name, values := range a.header {
		if strings.HasPrefix(name, "Ratelimit-") || name == "Retry-After" || name == "Access-Control-Allow-Origin" {
			w.Header()[name] = values
		}
	}
}

// problem is a failure of the API.
type problem struct {
	wire.Failure
	Status int   `json:"-"`
	Ways   []way `json:"-"` // links to likely targets
}

// way is a link to a likely target of the visitor.
type way struct{ Text, Href string }

func newProblem(status int, name, message string) problem {
	return problem{Failure: wire.Failure{Name: name, Message: message}, Status: status}
}

func (p problem) Error() string { return fmt.Sprintf("web: %d %s: %s", p.Status, p.Name, p.Message) }

// form encodes parameters given in pairs, in their order, without those that are empty.
func form(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(pairs[i]) + "=" + readable.Replace(url.QueryEscape(pairs[i+1])))
	}
	return b.String()
}

// readable restores characters that a query may contain unescaped, so that people can read at-uris.
var readable = strings.NewReplacer("%3A", ":", "%2F", "/")

// recorder is a ResponseWriter that keeps the answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}
