// Package web serves weft's pages, which show the API's answers to people.
//
// A page has the address of the answer that it shows. Its handler wraps the API's. For a request that prefers HTML, it
// queries the API as any client would and renders the answers; it passes every other request to the API. So a page
// shows only the API's answers, and the API's limits apply: a page counts as the queries that it makes.
//
// All data from records or requests is hostile. It goes through html/template, scripts and styles are files of this
// server only, and pages load nothing from other hosts.
package web

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
)

// Store is the index as pages use it beside the API.
type Store interface {
	// Stats returns the statistics of the index.
	Stats(ctx context.Context) (db.Stats, error)
	// Seq returns the newest row of the log.
	Seq() uint64
	// Log reads the rows of the log after a row.
	Log(ctx context.Context, after uint64, limit int) ([]db.LogEntry, uint64, error)
}

// Config configures the pages. API and Store are required.
type Config struct {
	API   http.Handler // handler of /links, /xrpc/… and everything that isn't a page
	Store Store        // the API's index

	Limits  Limits               // nil: none
	Names   Names                // names of accounts; nil: pages show DIDs
	Current func() error         // nil while answers are current, else the reason; nil: they always are
	Lag     func() time.Duration // age of the newest event, 0 before the first; nil: not shown
	Logger  *slog.Logger         // nil: slog.Default()
	Now     func() time.Time     // nil: time.Now
	Viewer  string               // URL of a viewer of records with {uri} in it, or NoViewer; empty: DefaultViewer
}

// Server is the handler of the pages and the API.
type Server struct {
	Config
	pages     map[string]page // by path
	own       map[string]page // pages without an answer of the API
	templates map[string]*template.Template
	assets    map[string]asset // by path
	liveFeed  *liveFeed
	drawn     http.Handler // renders pages, compressed
}

// page is a page that shows the API's answer at a path.
type page struct {
	template string // name of the template without its extension
	build    builder
}

// builder makes the view of a template. a is the API's answer to the request, with status 200. For a page without an
// answer of the API, a is empty and serves for further queries.
type builder func(ctx context.Context, a *answer) (*view, error)

// pageTimeout limits all queries of a page: a little more than the API's limit for one answer. After it, the page omits
// optional parts.
const pageTimeout = 12 * time.Second

// New returns the handler. It panics if a template is malformed; every test would fail then.
func New(c Config) *Server {
	s := &Server{Config: c}
	if s.Current == nil {
		s.Current = func() error { return nil }
	}
	if s.Limits == nil {
		s.Limits = unlimited{}
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Viewer == "" {
		s.Viewer = DefaultViewer
	}
	s.assets = loadAssets()
	s.templates = loadTemplates(s.assets)
	s.liveFeed = newLiveFeed(s.Store, s.Lag, s.Now, s.Names)
	s.pages = s.answerPages()
	s.own = s.ownPages()
	for _, table := range []map[string]page{s.pages, s.own} {
		for path, p := range table {
			if s.templates[p.template] == nil {
				panic("web: there is no template " + p.template + " for " + path)
			}
		}
	}
	s.drawn = gzhttp.GzipHandler(http.HandlerFunc(s.draw))
	return s
}

// answerPages returns the pages of the API's answers. A page is at the path of its answer.
func (s *Server) answerPages() map[string]page {
	lists := s.listPages()
	pages := map[string]page{}
	for _, route := range routes.All {
		p := page{template: string(route.Page)}
		switch route.Page {
		case routes.PageNone:
			continue
		case routes.PageJSON:
			p.build = rawPage
		case routes.PageHome:
			p.build = s.home
		case routes.PageStatus:
			p.build = s.status
		case routes.PageExplore:
			p.build = s.explore
		case routes.PageCount:
			p.build = s.count
		case routes.PageTop:
			p.build = s.top
		case routes.PageList:
			p.build = lists[route]
		}
		if p.build == nil {
			panic("web: no page " + p.template + " for " + route.Path)
		}
		pages[route.Path] = p
	}
	return pages
}

// ownPages returns the pages without an answer of the API.
func (s *Server) ownPages() map[string]page {
	return s.apiPages()
}

// apiOnly reports whether a path answers browsers and programs alike.
func apiOnly(path string) bool {
	route := routes.At(path)
	return route != nil && route.Page == routes.PageNone
}

// Run keeps the live figures until ctx ends, then closes the connections of open pages.
func (s *Server) Run(ctx context.Context) error {
	s.liveFeed.run(ctx)
	return nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch _, isAsset := s.assets[r.URL.Path]; {
	case r.URL.Path == liveFeedPath:
		if release := s.Limits.AdmitStream(w, r); release != nil {
			defer release()
			s.liveFeed.serve(w, r)
		}
	case r.URL.Path == namesPath:
		if s.Limits.Admit(w, r) {
			s.handles(w, r)
		}
	case isAsset:
		if s.Limits.Admit(w, r) {
			s.assets[r.URL.Path].serve(w, r)
		}
	case r.URL.Path == searchPath, s.own[r.URL.Path].build != nil, !apiOnly(r.URL.Path) && wantsPage(r):
		s.servePage(w, r)
	default:
		s.API.ServeHTTP(w, r)
	}
}

// apiQuery returns the query string that a page sends to the API: its own, with the defaults of pages.
func apiQuery(u *url.URL, template string) string {
	query := withoutPageParameters(u.RawQuery)
	if template == string(routes.PageExplore) && !u.Query().Has("limit") {
		query += "&limit=" + pageSources
	}
	if template == string(routes.PageTop) && !u.Query().Has("hydrate") {
		query = strings.TrimPrefix(query+"&hydrate=true", "&")
	}
	return query
}

// draw answers with a page.
func (s *Server) draw(w http.ResponseWriter, r *http.Request) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		// The page is sent only when it is complete: nothing has been sent yet.
		s.Logger.Error("panic in a page", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
		http.Error(w, "internal error: the server has logged it", http.StatusInternalServerError)
	}()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		s.refuse(w, r, newProblem(http.StatusMethodNotAllowed, "MethodNotAllowed", "This path accepts only GET and HEAD."))
		return
	}
	p, isOwn := s.own[r.URL.Path]
	if (isOwn || r.URL.Path == searchPath) && !s.admit(w, r) { // other pages count as their queries
		return
	}
	if r.URL.Path == searchPath {
		s.search(w, r)
		return
	}
	if !isOwn {
		p = s.pages[r.URL.Path]
	}
	if p.build == nil {
		p = page{string(routes.PageJSON), rawPage}
	}
	query := apiQuery(r.URL, p.template)
	a := &answer{server: s, request: r, path: r.URL.Path, query: query, header: http.Header{}}
	if !isOwn {
		a = s.ask(r, r.URL.Path, query)
		a.keepHeaders(w)
		if a.status != http.StatusOK {
			s.fail(w, r, a)
			return
		}
	}
	v, err := p.build(r.Context(), a)
	var refused problem
	if errors.As(err, &refused) {
		s.refuse(w, r, refused)
		return
	}
	if err != nil {
		s.Logger.Error("page failed", "path", r.URL.Path, "err", err)
		s.fail(w, r, &answer{server: s, request: r, status: http.StatusInternalServerError})
		return
	}
	s.render(w, r, http.StatusOK, p.template, v, a)
}

// rawPage builds the page of an answer without a template of its own.
func rawPage(_ context.Context, a *answer) (*view, error) {
	if !a.isJSON() {
		return nil, fmt.Errorf("web: %s answers with %s", a.path, a.header.Get("Content-Type"))
	}
	return &view{Title: a.path, OpenRaw: true}, nil
}
