package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weft.dev/weft/ingest/sim"
)

const (
	// Eight kills, spread over the time that the network takes to make its live events: some strike in the archive, some while
	// an index is opened or taken up again, most under load.
	processKills = 8
	killWithin   = 800 * time.Millisecond

	// Some events are there before weft starts, in several segments; the rest comes while it is being killed. In all they are
	// more than the 8,192 that weft goes back when it starts again, so that the last rewinds don't reach the start; and no
	// more, for the comparison asks a score of questions of each list.
	processBacklog = 3_000
	processSegment = 1_000
	processTotal   = 8_700
	processRate    = 1_600
)

// TestServeProcess kills weft again and again while a synthetic network's events come in.
func TestServeProcess(t *testing.T) {
	t.Parallel()
	needs(t, buildWeft)
	upstream := serveNetwork(t, sim.ServerConfig{
		// With ten times the usual account changes and resyncs, kills meet them.
		NetworkConfig: sim.NetworkConfig{Seed: 7, Accounts: 300, Churn: 10, RatePerSec: processRate},
		Backlog:       processBacklog, EventsPerSegment: processSegment, Rate: processRate, Total: processTotal,
	})

	journal, data := newJournal(t, "weft"), t.TempDir()
	for range processKills {
		w := startWeft(t, journal, upstream.URL(), data)
		after := rand.N(killWithin) // the moment is the point: waiting for a state would leave the others out
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
