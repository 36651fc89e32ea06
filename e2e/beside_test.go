package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft.dev/weft/ingest/sim"
)

// TestBesideServe runs the commands that read or compact a data directory, as processes beside the weft that writes it,
// and again after its end.
func TestBesideServe(t *testing.T) {
	needs(t, buildWeft)
	upstream := serveNetwork(t, sim.ServerConfig{
		NetworkConfig: sim.NetworkConfig{Seed: 9, Accounts: 300, Churn: 10, RatePerSec: 500}, Backlog: 2_000, Rate: 500,
	})
	data := t.TempDir()
	w := startWeft(t, newJournal(t, "weft"), upstream.URL(), data)
	w.up(t)
	w.reaches(t, 2_000, time.Minute)
	run := func(command, says string, args ...string) {
		t.Helper()
		c := start(t, newJournal(t, command), nil, "weft", append([]string{command, "--data", data}, args...)...)
		if code := c.exit(t, time.Minute); code != 0 {
			t.Errorf("weft %s ended with %d", command, code)
		}
		if _, ok := c.line(says); !ok {
			t.Errorf("weft %s does not say %q", command, says)
		}
	}
	all := func() {
		t.Helper()
		run("stats", "segments")
		run("check", "No problem.", "--all")
		run("export", " links of ", "--format", "parquet", "--out", filepath.Join(t.TempDir(), "links"))
		run("compact", "compact")
		run("gaps", "No gaps")
	}
	all()
	info, err := os.Stat(filepath.Join(data, "weft.sock"))
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket of a running weft is %v: %v", info, err)
	}
	w.kill() // its socket stays, and the next start replaces it
	w = startWeft(t, newJournal(t, "weft again"), upstream.URL(), data)
	w.up(t)
	run("compact", "compact")
	w.endsInOrder(t)
	if _, err := os.Lstat(filepath.Join(data, "weft.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is left after an end in order: %v", err)
	}
	all()
}
