package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/urfave/cli/v3"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// TestDocuments: docs/configuration.md matches the flags, and docs/metrics.md matches the registry.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"configuration.md": configurationDocument(newRoot(io.Discard, io.Discard)),
		"metrics.md":       metricsDocument(describedMetrics(t)),
	} {
		path := "../../docs/" + file
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("docs/%s differs from the code: go test ./cmd/weft -run TestDocuments -update writes it", file)
		}
	}
}

// configurationDocument returns docs/configuration.md: a table of flags for each command.
func configurationDocument(root *cli.Command) string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n" +
		"This page is generated from the flags: `go test ./cmd/weft -run TestDocuments -update` writes it.\n\n" +
		"A flag wins over its environment variable. weft refuses a variable that begins with `WEFT_` and that no flag reads,\n" +
		"because a misspelt variable would otherwise be ignored silently.\n")
	var add func(cmd *cli.Command, typed string)
	add = func(cmd *cli.Command, typed string) {
		rows := flagRows(cmd)
		if cmd != root && len(rows) > 0 {
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n"+
				"| flag | environment variable | default | meaning |\n| --- | --- | --- | --- |\n",
				typed, strings.ToUpper(cmd.Usage[:1])+cmd.Usage[1:])
			b.WriteString(strings.Join(rows, ""))
		}
		for _, sub := range cmd.Commands {
			add(sub, strings.TrimSpace(typed+" "+sub.Name))
		}
	}
	add(root, "")
	return b.String()
}

// flagRows returns the rows of the table of a command's own flags.
func flagRows(cmd *cli.Command) []string {
	var rows []string
	for _, flag := range cmd.Flags {
		f, ok := flag.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		names := make([]string, 0, 2)
		for _, name := range flag.Names() {
			names = append(names, "`--"+name+"`")
		}
		def := strings.ReplaceAll(strings.Trim(f.GetDefaultText(), `"[]`), "|", `\|`)
		if def == "" {
			def = strings.ReplaceAll(strings.Trim(f.GetValue(), `"[]`), "|", `\|`)
		}
		if def != "" {
			def = "`" + def + "`"
		}
		env := make([]string, 0, 1)
		for _, name := range f.GetEnvVars() {
			env = append(env, "`"+name+"`")
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |\n", strings.Join(names, ", "), strings.Join(env, ", "), def,
			strings.ReplaceAll(f.GetUsage(), "|", `\|`)))
	}
	return rows
}

// described is a metric with the help and labels of its collector.
type described struct{ name, help, labels string }

// describedMetrics registers all collectors of a serving weft and returns their descriptions, by name. It leaves out
// Go's own collectors.
func describedMetrics(t *testing.T) []described {
	t.Helper()
	var all []described
	for _, m := range describe(t, newRegistry(t)) {
		if strings.HasPrefix(m.name, "weft_") {
			all = append(all, m)
		}
	}
	if len(all) < 30 {
		t.Fatalf("only %d metrics are described", len(all))
	}
	return all
}

// newRegistry returns a registry with the collectors of weft serve.
func newRegistry(t *testing.T) *prometheus.Registry {
	t.Helper()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newStoreMetrics(&store.Index), newCheckpointMetrics(store), newRetentionMetrics(&store.Index))
	registry.MustRegister(newWriterMetrics(store, store.Degraded)...)
	registry.MustRegister(newFollowMetrics(nil), newReplicaMetrics(replica.New(replica.ReplicatorConfig{})))
	restore.NewVerifier(restore.VerifierConfig{Metrics: registry})
	api.New(api.Config{Store: store, Metrics: registry})
	ingest.New(ingest.Config{Hosts: []upstream.Endpoint{{URL: "https://upstream.example"}}, Store: store,
		Metrics: registry})
	return registry
}

var describes = regexp.MustCompile(`fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)".*variableLabels: \{([^}]*)\}`)

// describe returns the descriptions of a registry, sorted by name.
func describe(t *testing.T, registry *prometheus.Registry) []described {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	var all []described
	for d := range descs {
		m := describes.FindStringSubmatch(d.String())
		if m == nil {
			t.Errorf("%s: not understood", d)
			continue
		}
		all = append(all, described{m[1], strings.ReplaceAll(m[2], `\"`, `"`), m[3]})
	}
	slices.SortFunc(all, func(a, b described) int { return strings.Compare(a.name, b.name) })
	return all
}

// metricsDocument returns docs/metrics.md.
func metricsDocument(all []described) string {
	var b strings.Builder
	b.WriteString("# Metrics\n\n" +
		"This page is generated from the registry: `go test ./cmd/weft -run TestDocuments -update` writes it.\n\n" +
		"`weft serve --metrics-listen 127.0.0.1:7781` serves these in the Prometheus text format at `/metrics`, beside Go's own.\n" +
		"[grafana.json](grafana.json) is a dashboard of them.\n\n" +
		"| metric | labels | meaning |\n| --- | --- | --- |\n")
	for _, m := range all {
		labels := ""
		if m.labels != "" {
			labels = "`" + strings.ReplaceAll(m.labels, ",", "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.name, labels, strings.ReplaceAll(m.help, "|", `\|`))
	}
	return b.String()
}
