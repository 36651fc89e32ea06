package api

import (
	"context"
	"net/http"
	"strings"
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
	"docs lists the routes; the XRPC methods take ?subject=<at-uri, DID or URI>&source=<collection>:<path>, " +
	"the older ones ?target=<the same>&collection=<collection>&path=.<path>."

func (s *server) index(ctx context.Context, _ *params) (any, error) {
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
func (s *server) robots(w http.ResponseWriter, r *http.Request) {
	write(w, r, http.StatusOK, "text/plain; charset=utf-8", cacheLong, []byte("User-agent: *\nDisallow: /links\nDisallow: /xrpc/\n"))
}

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
