package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/ingest"
	"weft.dev/weft/replica"
)

// TestDashboard: every metric that docs/grafana.json asks for is one that weft exports, with the labels that it uses, and every
// panel explains itself.
func TestDashboard(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newStoreMetrics(&store.Index), newCheckpointMetrics(store))
	registry.MustRegister(newFollowMetrics(nil), newReplicaMetrics(replica.New(replica.ReplicatorConfig{})))
	replica.NewVerifier(replica.VerifierConfig{Metrics: registry})
	api.New(api.Config{Store: store, Metrics: registry})
	ingest.New(ingest.Config{Hosts: []string{"upstream.example"}, Store: store, Metrics: registry})
	exported := map[string]string{} // labels by name
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	describes := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	for d := range descs {
		if m := describes.FindStringSubmatch(d.String()); m != nil {
			exported[m[1]] = "," + m[2] + ","
		}
	}
	if len(exported) < 30 {
		t.Fatalf("only %d metrics are described: %v", len(exported), exported)
	}

	text, err := os.ReadFile("../../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title, Type, Description string
			Targets                  []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`\b(weft|go|process)_[a-z0-9_]+`)
	label := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range dashboard.Panels {
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %q says nothing", p.Title)
		}
		for _, target := range p.Targets {
			names := metric.FindAllString(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("panel %q asks for no metric: %s", p.Title, target.Expr)
			}
			for _, name := range names {
				labels, ok := exported[name]
				for _, of := range []string{"_bucket", "_sum", "_count"} { // of a histogram or a summary
					if !ok {
						labels, ok = exported[strings.TrimSuffix(name, of)]
					}
				}
				if !ok {
					t.Errorf("panel %q asks for %s, which weft doesn't export", p.Title, name)
				}
				for _, m := range label.FindAllStringSubmatch(target.LegendFormat, -1) {
					if !strings.Contains(labels, ","+m[1]+",") {
						t.Errorf("panel %q shows the label %s of %s, which has %q", p.Title, m[1], name, labels)
					}
				}
			}
		}
	}
}
