package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// statsTimeout is how long a weft may take to answer: its figures cost it nothing.
const statsTimeout = 10 * time.Second

// statsOfURL asks a weft that runs.
func statsOfURL(ctx context.Context, w io.Writer, base string) error {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	base = strings.TrimSuffix(base, "/")
	var index struct {
		Stats struct {
			DIDs      int64  `json:"dids"`
			Targets   int64  `json:"targetables"`
			Records   int64  `json:"linking_records"`
			Links     int64  `json:"links"`
			StartedAt *int64 `json:"started_at"`
		} `json:"stats"`
		Gaps []struct {
			Host     string
			From, To uint64
			Why      string
		} `json:"gaps"`
	}
	var health struct{ Version string }
	var ready struct {
		Ready   bool
		Message string
	}
	for _, ask := range []struct {
		path string
		into any
		fail bool // an answer that is no success says something too
	}{{"/", &index, false}, {"/xrpc/_health", &health, false}, {"/readyz", &ready, true}} {
		if err := getJSON(ctx, base+ask.path, ask.into, ask.fail); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "weft %s at %s\n", health.Version, base)
	if index.Stats.StartedAt != nil {
		fmt.Fprintf(w, "  events since %s\n", utc(*index.Stats.StartedAt))
	}
	fmt.Fprintf(w, "  %s of %s, to %s at most\n", count(index.Stats.Links, "link"), count(index.Stats.Records, "record"), count(index.Stats.Targets, "target"))
	fmt.Fprintf(w, "  %s\n", count(index.Stats.DIDs, "account"))
	if ready.Ready {
		fmt.Fprintf(w, "  ready\n")
	} else {
		fmt.Fprintf(w, "  not ready: %s\n", ready.Message)
	}
	fmt.Fprintf(w, "  %s open\n", count(int64(len(index.Gaps)), "gap"))
	for _, g := range index.Gaps {
		fmt.Fprintf(w, "    %s %d to %d: %s\n", g.Host, g.From, g.To, g.Why)
	}
	return nil
}

// getJSON reads an answer of a weft.
func getJSON(ctx context.Context, url string, into any, failing bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("query %s: %w", url, err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("query weft (is it running there?): %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK && !failing {
		return fmt.Errorf("query %s: it answers %s", url, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("query %s: it answers %s, without the JSON of weft: %w", url, res.Status, err)
	}
	return nil
}
