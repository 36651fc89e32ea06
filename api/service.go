package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

const help = "weft, a backlink index for the AT Protocol: who links here, from which kind of record, how many. " +
	"docs lists the routes. XRPC methods take ?subject=<at-uri, DID or URI>&source=<collection>:<path>. " +
	"The older routes take ?target=<at-uri, DID or URI>&collection=<collection>&path=.<path>."

// about returns the handler of an answer about the service. Concurrent requests share one answer. It doesn't wait in a
// semaphore, so that an operator gets it when the semaphores are full.
func (s *server) about(answer func(context.Context) (any, error)) http.HandlerFunc {
	shared := &sharedAnswer{make: func(ctx context.Context) ([]byte, error) {
		v, err := answer(ctx)
		if err != nil {
			return nil, err
		}
		return encodeJSON(v), nil
	}, timeout: s.Timeout}
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
		defer cancel()
		body, err := shared.get(ctx)
		if err != nil {
			writeFailure(w, r, s.failureOf(ctx, r, err))
			return
		}
		newReply(r, http.StatusOK, typeJSON, cacheBriefly, body).send(w, r)
	}
}

// sharedAnswer computes one answer at a time.
type sharedAnswer struct {
	make    func(context.Context) ([]byte, error)
	timeout time.Duration

	mu    sync.Mutex
	under *making // nil: none in progress
}

// making is an answer in progress.
type making struct {
	done chan struct{}
	body []byte
	err  error
}

// get computes an answer, or waits for the one in progress.
func (a *sharedAnswer) get(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	m := a.under
	if m != nil {
		a.mu.Unlock()
		select {
		case <-m.done:
			return m.body, m.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m = &making{done: make(chan struct{}), err: errInternal} // if it panics
	a.under = m
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.under = nil
		a.mu.Unlock()
		close(m.done)
	}()
	// Others wait for this answer: it continues when this client leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
	defer cancel()
	m.body, m.err = a.make(ctx)
	if m.err != nil && ctx.Err() != nil {
		m.err = fmt.Errorf("%w: %w", ctx.Err(), m.err) // the timeout is its cause
	}
	return m.body, m.err
}

func pathOf(r *routes.Route) string { return r.Path }

func (s *server) index(ctx context.Context) (any, error) {
	st, err := s.Store.Stats(ctx)
	if err != nil {
		return nil, err
	}
	gaps, err := s.Store.Gaps(ctx)
	if err != nil {
		return nil, err
	}
	a := wire.Index{Help: help, Gaps: make([]wire.IndexGap, 0, len(gaps)), Docs: each(routes.All, pathOf),
		Retention: retentionOf(st.Retention),
		Stats:     wire.IndexStats{DIDs: st.Actors, Targetables: st.Targets, LinkingRecords: st.Records, Links: st.Links}}
	for _, g := range gaps {
		a.Gaps = append(a.Gaps, wire.IndexGap{Host: g.Host, From: g.From, To: g.To, Why: g.Why, FoundAt: g.FoundUS})
	}
	if st.StartedUS != 0 {
		days := int64(s.Now().Sub(time.UnixMicro(st.StartedUS)) / (24 * time.Hour))
		a.Stats.StartedAt = &st.StartedUS
		a.DaysIndexed = &days
	}
	return a, nil
}

// health answers as soon as the process does, as in atproto services. /readyz reports whether it can answer queries.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, r, http.StatusOK, cacheNever, wire.Health{Version: s.Version})
}

// ready reports whether this instance can answer, and with max-lag also whether its index is that current.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	maxLag := s.MaxLag
	if query := r.URL.Query(); query.Has("max-lag") {
		given, err := time.ParseDuration(query.Get("max-lag"))
		if err != nil || given <= 0 {
			writeFailure(w, r, invalid("max-lag", "must be a duration such as 60s or 5m"))
			return
		}
		maxLag = given
	}
	err := s.Ready()
	if err == nil && maxLag > 0 {
		err = s.Current(maxLag)
	}
	if err != nil {
		writeFailure(w, r, newFailure(http.StatusServiceUnavailable, "NotReady", err.Error()))
		return
	}
	a := wire.Ready{Ready: true}
	if s.Degraded != nil {
		a.Degraded = s.Degraded()
	}
	writeJSON(w, r, http.StatusOK, cacheNever, a)
}

// robots keeps crawlers off an endless number of pages: every link leads to pages of links.
var robots = "User-agent: *\nDisallow: " + routes.Links.Path + "\nDisallow: " + routes.Prefix + "\n"

// didDocument lets PDSs proxy requests to this service, under Constellation's name for clients that know only that one,
// and under weft's.
func (s *server) didDocument(w http.ResponseWriter, r *http.Request) {
	if s.DIDWeb == "" {
		notFound(w, r)
		return
	}
	at := "https://" + s.DIDWeb
	writeJSON(w, r, http.StatusOK, cacheLong, wire.DIDDocument{
		Context: []string{"https://www.w3.org/ns/did/v1"},
		ID:      "did:web:" + strings.ReplaceAll(s.DIDWeb, ":", "%3A"), // a port's colon would start a path
		Service: []wire.DIDService{
			{ID: "#constellation", Type: "ConstellationGraphService", Endpoint: at},
			{ID: "#weft", Type: "WeftBacklinkIndex", Endpoint: at},
		},
	})
}
