package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDashboard: weft exports every metric in docs/grafana.json with the labels that it uses, and every panel has a
// description.
func TestDashboard(t *testing.T) {
	t.Parallel()
	exported := map[string]string{} // labels by name
	for _, m := range describe(t, newRegistry(t)) {
		exported[m.name] = "," + m.labels + ","
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
				for _, of := range []string{"_bucket", "_sum", "_count"} { // suffixes of a histogram or a summary
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
