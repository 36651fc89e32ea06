package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft.dev/weft/ingest/sim"
)

// buildLitestream builds the stock Litestream that tools/go.mod pins.
func buildLitestream() error {
	return goBuild(filepath.Join("..", "tools"), "github.com/benbjohnson/litestream/cmd/litestream")
}

// replicaNetwork returns a network that ends, and its model.
func replicaNetwork(t *testing.T) (*sim.Server, *oracle) {
	t.Helper()
	const backlog, total = 1000, 2500
	upstream := serveNetwork(t, sim.ServerConfig{
		NetworkConfig: sim.NetworkConfig{Seed: 9, Accounts: 200, Churn: 5, RatePerSec: 2000},
		Backlog:       backlog, EventsPerSegment: 500, Rate: 2000, Total: total,
	})
	eventually(t, time.Minute, "the network is complete", func() error {
		if tip := upstream.Tip(); tip < total {
			return fmt.Errorf("it is at %d of %d events", tip, total)
		}
		return nil
	})
	tr := newOracle()
	if err := upstream.Replay(1, tr.apply); err != nil {
		t.Fatal(err)
	}
	return upstream, tr
}

// TestServeReplicates: weft serve with a litestream.yml in its data directory keeps a replica, has everything in it at
// its end, restores it on an empty disk, and reports an incomplete replica by its exit code.
func TestServeReplicates(t *testing.T) {
	onlyThorough(t)
	t.Parallel()
	needs(t, buildWeft)
	upstream, tr := replicaNetwork(t)
	journal, replica := newJournal(t, "weft"), filepath.Join(t.TempDir(), "replica")
	disk := func() string {
		t.Helper()
		dir := t.TempDir()
		text := fmt.Sprintf(
			"shutdown-timeout: 3s\ndbs:\n  - path: %s\n    replica: {type: file, path: %s, sync-interval: 100ms}\n",
			filepath.Join(dir, "weft.db"), replica)
		if err := os.WriteFile(filepath.Join(dir, "litestream.yml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	says := func(w *weft, parts ...string) {
		t.Helper()
		if _, ok := w.line(parts...); !ok {
			t.Errorf("weft doesn't say %q", parts)
		}
	}
	first := disk()
	w := startWeft(t, journal, upstream.URL(), first)
	w.up(t)
	says(w, "replica configured", filepath.Join(first, "litestream.yml"))
	says(w, "starting a new index")
	tr.compare(t, w, depth(20))
	if runtime.GOOS == "linux" {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(first, "weft.db"))
		if err != nil {
			t.Fatal(err)
		}
		inode := fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)
		held := 0
		for line := range strings.Lines(string(locks)) {
			if strings.Contains(line, inode) {
				held++
				if !strings.Contains(line, "OFDLCK") {
					t.Errorf("a lock that another descriptor's end takes away: %s", line)
				}
			}
		}
		if held == 0 {
			t.Error("no process holds a lock on weft.db: another program would remove the WAL at its end, as its only user")
		}
	}
	// The disk of the test may be 80 % full.
	if body, err := get(w.queries + "/readyz"); err != nil || strings.Contains(string(body), "the replica") {
		t.Errorf("%s, %v", body, err)
	}
	if code := w.terminate(t, downWithin); code != 0 {
		t.Errorf("weft ended with %d", code)
	}
	says(w, "skipping the checkpoint: the replicator does it")
	says(w, "uploading the rest to the replica")
	says(w, "replica is complete")

	second := disk()
	w = startWeft(t, journal, upstream.URL(), second)
	w.up(t)
	says(w, "no database here: restoring the replica")
	says(w, "msg=restored")
	tr.compare(t, w, depth(20))

	// The replica's disk is removed.
	if err := os.RemoveAll(replica); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(replica, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code := w.terminate(t, downWithin); code != 3 {
		t.Errorf("weft ended with %d, and its replica is gone", code)
	}
	says(w, "replica is incomplete")
}

// TestSidecar: stock Litestream beside a weft that it starts, and that leaves replication to it. With a whole log,
// weft.db suffices for a restore.
func TestSidecar(t *testing.T) {
	needsStock(t, buildWeft, buildLitestream)
	upstream, tr := replicaNetwork(t)
	data, out := t.TempDir(), t.TempDir()
	config := filepath.Join(t.TempDir(), "litestream.yml")
	text := fmt.Sprintf("dbs:\n  - path: %s\n    replica: {type: file, path: %s, sync-interval: 100ms}\n",
		filepath.Join(data, "weft.db"), filepath.Join(t.TempDir(), "replica"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	exec := strings.Join([]string{program("weft"), "serve", "--replicate", "off", "--checkpoint", "off", "--replay-window",
		"all", "--jetstream", upstream.URL(), "--from", "start",
		"--data", data, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"}, " ")
	w := &weft{data: data, child: start(t, newJournal(t, "litestream"), nil, "litestream", "replicate", "-config", config,
		"-exec", exec)}
	w.up(t)
	tr.compare(t, w, depth(20))
	if code := w.terminate(t, downWithin); code != 0 {
		t.Errorf("litestream ended with %d", code)
	}
	restored := start(t, newJournal(t, "litestream restore"), nil, "litestream", "restore", "-config", config, "-o",
		filepath.Join(out, "weft.db"), filepath.Join(data, "weft.db"))
	if code := restored.exit(t, downWithin); code != 0 {
		t.Fatalf("litestream restore ended with %d", code)
	}
	again := startWeft(t, newJournal(t, "weft, restored"), upstream.URL(), out)
	again.up(t)
	tr.compare(t, again, depth(20))
}
