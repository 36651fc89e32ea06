package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"weft.dev/weft/db/model"
)

// second starts another Jetstream server in front of the same network, with an archive and numbers of its own.
func (n *network) second(t *testing.T) *network {
	t.Helper()
	public, debug := freeAddress(t), freeAddress(t)
	o := &network{url: "http://" + public, debug: "http://" + debug + "/metrics", journal: newJournal(t, "second jetstream server"), simulator: n.simulator}
	relay := ""
	for i, arg := range n.args {
		if arg == "--relay-url" {
			relay = n.args[i+1]
		}
	}
	o.args = []string{"--log-format", "text", "serve", "--addr", public, "--debug-addr", debug,
		"--relay-url", relay, "--plc-url", relay, "--data-dir", filepath.Join(t.TempDir(), "second")}
	o.startServer(t)
	return o
}

const failovers = 2

// moveWithin is what the end of a server may cost: weft is at another one's tip, with no gap.
const moveWithin = 5 * time.Second

// TestRealFailover follows two of Jetstream's own servers, of which one and the other is killed, and compares all of the
// network.
func TestRealFailover(t *testing.T) {
	needs(t, buildWeft, buildJetstream)
	a := startNetwork(t)
	b := a.second(t)
	w := &weft{data: t.TempDir()}
	w.child = start(t, newJournal(t, "weft"), nil, "weft", "serve", "--jetstream", a.url, "--jetstream", b.url, "--from", "start", "--data", w.data,
		"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")
	w.up(t)
	follows := func(n *network) {
		t.Helper()
		eventually(t, 4*time.Minute, "weft follows "+n.url, func() error {
			st, err := w.upstream()
			if err == nil && (st.Host != n.url || !st.Connected) {
				err = fmt.Errorf("it is with %s: %s", st.Host, st.Detail)
			}
			return err
		}, w.child)
		w.reaches(t, tipOf(t, n), resumeWithin)
	}
	follows(a)
	for range failovers {
		a.server.kill()
		begun := time.Now()
		follows(b)
		took := time.Since(begun)
		t.Logf("at the second server's tip %s after the first was killed", took.Round(time.Millisecond))
		if took > moveWithin {
			t.Errorf("it took %s", took)
		}
		a.startServer(t)
		b.server.kill()
		follows(a)
		b.startServer(t)
	}
	tip := a.stop(t)
	tr := newOracle()
	tr.follow(t, a.url, tip)
	tr.compare(t, w, model.Depth{Page: 2, Many: true})
	w.endsInOrder(t)
}
