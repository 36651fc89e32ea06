//go:build officialclient

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"weft.dev/weft/db/dbtest"
)

// another starts another Jetstream server of the same network, with its own archive and numbers.
func (n *network) another(t *testing.T, name string) *network {
	t.Helper()
	public, debug := freeAddress(t), freeAddress(t)
	o := &network{url: "http://" + public, debug: "http://" + debug + "/metrics",
		journal: newJournal(t, name+" jetstream server"), simulator: n.simulator}
	o.args = []string{"--log-format", "text", "serve", "--addr", public, "--debug-addr", debug,
		"--relay-url", n.relay, "--plc-url", n.relay, "--data-dir", t.TempDir()}
	o.startServer(t)
	return o
}

const (
	failovers = 2
	// failoverBound bounds a failover to the second server's tip.
	failoverBound = time.Minute
	// failoverWait bounds what weft itself waits for in a failover: the pause before a lost server gets its second
	// chance, of at most a quarter of a second, and nothing before the other server.
	failoverWait = time.Second
)

// TestRealFailover follows two of Jetstream's own servers and kills them alternately: weft notices the loss at once,
// waits for at most failoverWait of its own before it follows the other, reaches the other's tip, and ends in order.
// How long the connections, the requests and the events up to the tip take depends on the machine: a loaded core has
// taken 8 s, and failoverBound is far above. Each killed server has lost events that the other has. A third one, which
// is never killed and unknown to weft, has the expected content of the index.
func TestRealFailover(t *testing.T) {
	needsStock(t, buildWeft, buildJetstream)
	a := startNetwork(t)
	b, witness := a.another(t, "second"), a.another(t, "third")
	w := &weft{data: t.TempDir()}
	w.child = start(t, newJournal(t, "weft"), nil, "weft", "serve", "--jetstream", a.url, "--jetstream", b.url, "--from",
		"start", "--data", w.data,
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
		before := len(w.since(0))
		a.server.kill()
		begun := time.Now()
		follows(b)
		took := time.Since(begun)
		waited, err := waitsOf(w.since(before), a.url, b.url)
		t.Logf("at the second server's tip %s after the first was killed, %s of it waiting",
			took.Round(time.Millisecond), waited.Round(time.Millisecond))
		if err != nil || waited > failoverWait || took > failoverBound {
			t.Errorf("weft waited for %s of %s, %v", waited, took, err)
		}
		a.startServer(t)
		b.server.kill()
		follows(a)
		b.startServer(t)
	}
	a.hush(t)
	truth := newOracle()
	truth.follow(t, witness.url, witness.still(t, backFor))
	w.reaches(t, a.still(t, stillFor), resumeWithin)
	truth.compare(t, w, dbtest.Depth{Page: 2})
	w.endsInOrder(t)
}

// upstream returns the upstream's part of /status.
func (w *weft) upstream() (st struct {
	Connected    bool
	Host, Detail string
}, err error) {
	body, err := get(w.queries + "/status")
	if err != nil {
		return st, err
	}
	var a struct{ Upstream any }
	a.Upstream = &st
	return st, json.Unmarshal(body, &a)
}
