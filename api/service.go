package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// indexStats has Constellation's fields, and links.
type indexStats struct {
	DIDs           int64  `json:"dids"`
	Targetables    int64  `json:"targetables"`
	LinkingRecords int64  `json:"linking_records"`
	Links          int64  `json:"links"`
	StartedAt      *int64 `json:"started_at"` // microseconds since 1970
}

// indexAnswer is what / says. Its two nullable numbers are null until something has been indexed.
type indexAnswer struct {
	Help        string     `json:"help"`
	DaysIndexed *int64     `json:"days_indexed"` // whole days since the first event, gaps not taken off
	Stats       indexStats `json:"stats"`
	Gaps        []gap      `json:"gaps"` // spans of upstream that are missing from the index
	Docs        []string   `json:"docs"`
}

// gap is a span of an upstream's sequence numbers, both ends in it.
type gap struct {
	Host    string `json:"host"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Why     string `json:"why"`
	FoundAt int64  `json:"found_at"` // microseconds since 1970
}

const help = "weft, a backlink index for the AT Protocol: who links here, from which kind of record, how many. " +
	"docs lists the routes. XRPC methods take ?subject=<at-uri, DID or URI>&source=<collection>:<path>. " +
	"The older routes take ?target=<at-uri, DID or URI>&collection=<collection>&path=.<path>."

// about makes a handler of an answer about the service itself. All who ask while one is made share it, and it waits in no line, so that
// an operator sees it when the lines are full.
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

// sharedAnswer makes one answer at a time.
type sharedAnswer struct {
	make    func(context.Context) ([]byte, error)
	timeout time.Duration

	mu    sync.Mutex
	under *making // nil: none is made
}

// making is an answer that is being made.
type making struct {
	done chan struct{}
	body []byte
	err  error
}

// get makes an answer, or waits for the one that is made already.
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
	m = &making{done: make(chan struct{}), err: errInternal} // should it panic
	a.under = m
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.under = nil
		a.mu.Unlock()
		close(m.done)
	}()
	// Others wait for it: it goes on when this client leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
	defer cancel()
	m.body, m.err = a.make(ctx)
	if m.err != nil && ctx.Err() != nil {
		m.err = fmt.Errorf("%w: %w", ctx.Err(), m.err) // whatever it ended with comes from that
	}
	return m.body, m.err
}

func (s *server) index(ctx context.Context) (any, error) {
	st, err := s.Store.Stats(ctx)
	if err != nil {
		return nil, err
	}
	gaps, err := s.Store.Gaps(ctx)
	if err != nil {
		return nil, err
	}
	a := indexAnswer{Help: help, Gaps: make([]gap, 0, len(gaps)), Docs: s.paths,
		Stats: indexStats{DIDs: st.Actors, Targetables: st.Targets, LinkingRecords: st.Records, Links: st.Links}}
	for _, g := range gaps {
		a.Gaps = append(a.Gaps, gap{g.Host, g.From, g.To, g.Why, g.FoundUS})
	}
	if st.StartedUS != 0 {
		days := int64(s.Now().Sub(time.UnixMicro(st.StartedUS)) / (24 * time.Hour))
		a.Stats.StartedAt, a.DaysIndexed = &st.StartedUS, &days
	}
	return a, nil
}

// health answers as soon as the process does, as atproto services do; whether it can serve is for /readyz.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, r, http.StatusOK, cacheNever, struct {
		Version string `json:"version"`
	}{s.Version})
}

func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.Ready(); err != nil {
		writeFailure(w, r, &failure{http.StatusServiceUnavailable, "NotReady", err.Error()})
		return
	}
	a := struct {
		Ready    bool   `json:"ready"`
		Degraded string `json:"degraded,omitempty"` // what is wrong, though answers are as they should be
	}{Ready: true}
	if s.Degraded != nil {
		a.Degraded = s.Degraded()
	}
	writeJSON(w, r, http.StatusOK, cacheNever, a)
}

// robots keeps crawlers off what has no end: every link leads to pages of links.
const robots = "User-agent: *\nDisallow: /links\nDisallow: /xrpc/\n"

type didService struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Endpoint string `json:"serviceEndpoint"`
}

type didDoc struct {
	Context []string     `json:"@context"`
	ID      string       `json:"id"`
	Service []didService `json:"service"`
}

// didDocument lets PDSs proxy to this service: under Constellation's name, for clients that know only that, and under ours.
func (s *server) didDocument(w http.ResponseWriter, r *http.Request) {
	if s.DIDWeb == "" {
		notFound(w, r)
		return
	}
	at := "https://" + s.DIDWeb
	writeJSON(w, r, http.StatusOK, cacheLong, didDoc{
		Context: []string{"https://www.w3.org/ns/did/v1"},
		ID:      "did:web:" + strings.ReplaceAll(s.DIDWeb, ":", "%3A"), // a port's colon would start a path
		Service: []didService{
			{"#constellation", "ConstellationGraphService", at},
			{"#weft", "WeftBacklinkIndex", at},
		},
	})
}
