package main

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// TestCheckpointMetrics: the metrics match the outcomes of the checkpoints.
func TestCheckpointMetrics(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newStoreMetrics(&store.Index), newCheckpointMetrics(store))
	scrape := func() string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	if _, err := store.Apply(db.Batch{Host: "test", Seq: 1, TimeUS: 1}); err != nil {
		t.Fatal(err)
	}
	before := scrape()
	if err := store.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	after := scrape()
	for _, tc := range []struct{ name, text, want string }{
		{"none yet", before, `weft_checkpoints_total\{outcome="complete"\} 0`},
		{"no frames yet", before, `weft_checkpoint_frames_total 0`},
		{"a WAL", before, `weft_wal_bytes [1-9]`},
		{"one", after, `weft_checkpoints_total\{outcome="complete"\} 1`},
		{"none put off", after, `weft_checkpoints_total\{outcome="partial"\} 0`},
		{"none failed", after, `weft_checkpoints_total\{outcome="failed"\} 0`},
		{"frames", after, `weft_checkpoint_frames_total [1-9]`},
		{"time", after, `weft_checkpoint_seconds_sum [0-9.e-]+\nweft_checkpoint_seconds_count 1`},
		{"an empty WAL", after, `weft_wal_bytes 0`},
	} {
		if !regexp.MustCompile(`(?m)^` + tc.want).MatchString(tc.text) {
			t.Errorf("%s: %s isn't in\n%s", tc.name, tc.want, tc.text[strings.Index(tc.text, "# HELP weft_checkpoint"):])
		}
	}
}

// TestCountersFromTheStart: every counter has all its series before the first event. A rate over a series that appears
// with the value 1 misses that 1.
func TestCountersFromTheStart(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newStoreMetrics(&store.Index), newCheckpointMetrics(store))
	restore.NewVerifier(restore.VerifierConfig{Metrics: registry})
	api.New(api.Config{Store: store, Metrics: registry})
	ingest.New(ingest.Config{Hosts: []upstream.Endpoint{{URL: "https://upstream.example"}}, Store: store,
		Metrics: registry})
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	counters := map[string]bool{}
	for d := range descs {
		if m := regexp.MustCompile(`fqName: "([^"]+_total)"`).FindStringSubmatch(d.String()); m != nil {
			counters[m[1]] = true
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.Metric)
		for _, m := range f.Metric {
			if strings.HasSuffix(f.GetName(), "_total") && m.Counter.GetValue() != 0 {
				t.Errorf("%s begins with %v", f.GetName(), m)
			}
		}
	}
	for name := range counters {
		if series[name] == 0 {
			t.Errorf("%s has no series", name)
		}
	}
	for name, want := range map[string]int{"weft_ingest_applied_total": 9, "weft_ingest_dropped_total": 5,
		"weft_ingest_sessions_ended_total": 6,
		"weft_stream_ended_total":          7, "weft_replica_verifications_total": 3, "weft_checkpoints_total": 3} {
		if series[name] < want {
			t.Errorf("%s has %d series, want %d", name, series[name], want)
		}
	}
}
