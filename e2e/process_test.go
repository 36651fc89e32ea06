package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weft.dev/weft/ingest/sim"
)

const (
	// processKills are spread over the time of the live events: some strike during the archive, some while an index
	// opens or resumes, most under load.
	processKills = 8
	killWithin   = 800 * time.Millisecond

	// processBacklog events exist before weft starts, in several segments; the rest arrives during the kills. Together
	// they are more than the 8,192 that weft rewinds at a restart, so that the last rewinds don't reach the start. They
	// are no more than that, because the comparison makes many requests for each list.
	processBacklog = 3_000
	processSegment = 1_000
	processTotal   = 8_700
	processRate    = 1_600
)

// TestServeProcess kills weft repeatedly during ingest of a synthetic network.
func TestServeProcess(t *testing.T) {
	t.Parallel()
	needs(t, buildWeft)
	upstream := serveNetwork(t, sim.ServerConfig{
		// Ten times the usual account changes and resyncs, so that kills strike during them.
		NetworkConfig: sim.NetworkConfig{Seed: 7, Accounts: 300, Churn: 10, RatePerSec: processRate},
		Backlog:       processBacklog, EventsPerSegment: processSegment, Rate: processRate, Total: processTotal,
	})

	journal, data := newJournal(t, "weft"), t.TempDir()
	for range processKills {
		w := startWeft(t, journal, upstream.URL(), data)
		after := rand.N(killWithin) // a random moment is the purpose: a wait for a state would exclude others
		select {
		case <-time.After(after):
		case <-w.ended:
			t.Fatalf("weft has ended by itself: %v", w.err)
		}
		w.kill()
		t.Logf("killed after %s, upstream at %d", after.Round(time.Millisecond), upstream.Tip())
	}
	w := startWeft(t, journal, upstream.URL(), data)
	w.up(t)
	w.refusesSecond(t, upstream.URL())

	eventually(t, time.Minute, "the network is complete", func() error { return complete(upstream, processTotal) },
		w.child)
	tr := newOracle()
	if err := upstream.Replay(1, tr.apply); err != nil {
		t.Fatal(err)
	}
	w.reaches(t, tr.tip, time.Minute)
	everything := depth(20)
	everything.Many = true
	tr.compare(t, w, everything)
	if seq := w.endsInOrder(t); seq != tr.tip {
		t.Errorf("weft ended with %d committed, of %d", seq, tr.tip)
	}
}

func complete(upstream *sim.Server, total uint64) error {
	if tip := upstream.Tip(); tip < total {
		return fmt.Errorf("it is at %d of %d events", tip, total)
	}
	return nil
}
