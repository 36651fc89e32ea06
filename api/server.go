package api

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/stream"
	"weft.dev/weft/api/top"
	"weft.dev/weft/client/ts"
)

type server struct {
	Config
	limits
	metrics *metrics
	router  router
	tail    *stream.Tail
	top     *top.Counter
	history history
}

// Server is the handler for all routes.
type Server struct {
	http.Handler
	server *server
}

// Run feeds the live streams until ctx ends, and then ends them. Without it they deliver nothing.
func (s *Server) Run(ctx context.Context) error {
	s.server.tail.Run(ctx)
	return nil
}

// CountTop counts links for getTop until ctx ends. Without it, getTop finds nothing.
func (s *Server) CountTop(ctx context.Context) error {
	s.server.top.Run(ctx)
	return nil
}

// definitions are the lexicons.
var definitions = lexicons.Load()

// queryFunc answers a query from the store, with a type of package wire.
type queryFunc func(ctx context.Context, p *params) (any, error)

// queries are the handlers of the routes that are answered from the store. Their parameters are in package lexicons.
func (s *server) queries() map[*routes.Route]queryFunc {
	queries := map[*routes.Route]queryFunc{
		routes.Links:                  s.links,
		routes.LinksDistinctDIDs:      s.linksDistinctDIDs,
		routes.LinksCount:             s.linksCount,
		routes.LinksCountDistinctDIDs: s.linksCountDistinctDIDs,
		routes.LinksAll:               s.linksAll,
		routes.LinksAllCount:          s.linksAllCount,

		routes.Feed:  s.feed,
		routes.Badge: s.badge,
	}
	maps.Copy(queries, s.constellationQueries())
	maps.Copy(queries, s.weftQueries())
	return queries
}

// services are the handlers of all other routes.
func (s *server) services() map[*routes.Route]http.HandlerFunc {
	return map[*routes.Route]http.HandlerFunc{
		routes.Index:       s.about(s.index),
		routes.Subscribe:   s.subscribeWebSocket,
		routes.Events:      s.subscribeEvents,
		routes.Lexicons:    document(typeJSON, encodeJSON(lexiconList())),
		routes.Lexicon:     lexicon(),
		routes.OpenAPI:     document(typeJSON, encodeJSON(openAPIDocument(s.Version))),
		routes.Status:      s.about(s.status),
		routes.Health:      s.health,
		routes.Ready:       s.ready,
		routes.Robots:      document("text/plain; charset=utf-8", []byte(robots)),
		routes.DIDDocument: s.didDocument,
		routes.ClientJS:    clientModule(),
		routes.ClientTypes: document("text/plain; charset=utf-8", ts.Types), // no type of MIME is TypeScript's
	}
}

// New returns the handler for all routes. It panics when c.Metrics already holds this package's metrics.
func New(c Config) *Server {
	s := newServer(c)
	s.metrics = newMetrics(c.Metrics)
	s.router = router{}
	queries := s.queries()
	services := s.services()
	for _, route := range routes.All {
		handle := services[route]
		if query := queries[route]; query != nil {
			handle = s.query(route, query)
		}
		if handle == nil {
			panic("api: no handler for " + route.Path)
		}
		s.router[route] = endpoint{methodsOf(route), handle}
	}
	return &Server{s.observe(openToAll(s.nameSeq(s.limitRates(s.recoverPanics(s.router))))), s}
}

// methodsOf returns the HTTP methods that a route answers. HEAD of a stream would be of no use.
func methodsOf(route *routes.Route) []string {
	def := definitions.At(route.Path)
	switch {
	case def != nil && def.Method() == http.MethodPost:
		return []string{http.MethodPost}
	case route.Stream != "":
		return []string{http.MethodGet}
	}
	return []string{http.MethodGet, http.MethodHead}
}

func newServer(c Config) *server {
	s := &server{Config: c}
	if s.Version == "" {
		s.Version = "dev"
	}
	if s.Current == nil {
		s.Current = func(time.Duration) error { return nil }
	}
	if s.Ready == nil {
		s.Ready = func() error { return nil }
	}
	if s.Timeout <= 0 {
		s.Timeout = defaultTimeout
	}
	if s.Concurrency <= 0 {
		s.Concurrency = defaultConcurrency
	}
	if s.Words == nil {
		s.Words = plainWords{}
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Streams.PerAddress <= 0 {
		s.Streams.PerAddress = defaultPerAddress
	}
	if s.Streams.Total <= 0 {
		s.Streams.Total = defaultSubscribers
	}
	s.limits = newLimits(&s.Config)
	s.Streams.Log = s.Store
	s.Streams.Now = s.Now
	s.Streams.Failed = func(err error) { s.Logger.Error("cannot read the log for live streams", "err", err) }
	s.tail = stream.New(s.Streams.Config)
	s.top = top.New(top.Config{Log: s.Store, File: s.TopFile, Now: s.Now, Failed: func(err error) {
		s.Logger.Error("cannot count links for getTop; weft will retry", "err", err)
	}})
	registerTop(c.Metrics, s.top)
	return s
}
