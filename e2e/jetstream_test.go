//go:build officialclient

package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db/dbtest"
)

const (
	// jetstreamKills is the number of kills of weft. Every other kill strikes while weft opens its index, reads the
	// archive or rewinds; the rest while it follows the live stream.
	jetstreamKills = 6
	// earlyWithin is longer than weft needs to read and commit the archive of ten thousand events.
	earlyWithin = 500 * time.Millisecond
	// liveWithin is long enough for several commits between two kills.
	liveWithin = 1500 * time.Millisecond
	// serverKill is the kill after which the server is killed and restarted too.
	serverKill = 3
	// resumeWithin limits a reconnect. The client waits 250 ms and more; the server's next events come at once.
	resumeWithin = 30 * time.Second
)

// TestRealJetstream follows Jetstream's own server, kills weft and the server repeatedly, and then compares all of the
// network.
func TestRealJetstream(t *testing.T) {
	needsStock(t, buildWeft, buildJetstream)
	n := startNetwork(t)
	sealed, err := n.sealed()
	if err != nil {
		t.Fatal(err)
	}

	journal, data := newJournal(t, "weft"), t.TempDir()
	for i := range jetstreamKills {
		w := startWeft(t, journal, n.url, data)
		within := earlyWithin
		if i%2 == 1 {
			w.up(t)
			w.reaches(t, tipOf(t, n), resumeWithin)
			within = liveWithin
		}
		if i == serverKill {
			before := tipOf(t, n)
			n.server.kill()
			n.startServer(t)
			begun := time.Now()
			w.reaches(t, before+1, resumeWithin)
			t.Logf("an event that is new %s after the server serves again", time.Since(begun).Round(time.Millisecond))
		}
		// A random moment is the purpose: a wait for a state would exclude others.
		after := rand.N(within)
		select {
		case <-time.After(after):
		case <-w.ended:
			t.Fatalf("weft has ended by itself: %v", w.err)
		}
		w.kill()
		t.Logf("killed after %s, server at %d", after.Round(time.Millisecond), tipOf(t, n))
	}
	w := startWeft(t, journal, n.url, data)
	w.up(t)
	w.reaches(t, tipOf(t, n), resumeWithin)
	w.refusesSecond(t, n.url)

	tip := n.stop(t)
	tr := newOracle()
	tr.follow(t, n.url, tip)
	t.Logf("%d events up to %d, of which the archive holds those up to %d", tr.events, tip, sealed)
	if tip <= sealed {
		t.Errorf("the server's tip %d lies in its archive: nothing was read live", tip)
	}
	usedBothPaths(t, journal)
	// Most lists here have one link, those of followers a few: with short pages some have several pages.
	w.reaches(t, tip, time.Minute)
	tr.compare(t, w, dbtest.Depth{Page: 2, Many: true})
	if seq := w.endsInOrder(t); seq != tip {
		t.Errorf("weft ended with %d committed, of %d", seq, tip)
	}
}

func tipOf(t *testing.T, n *network) uint64 {
	t.Helper()
	tip, err := n.tip()
	if err != nil {
		t.Fatalf("the Jetstream server's tip: %v", err)
	}
	return tip
}

// usedBothPaths requires that some of weft's sessions read the archive and some resumed on the live stream: with fewer
// events, each rewind would reach the start, and only the archive would be tested.
func usedBothPaths(t *testing.T, j *journal) {
	t.Helper()
	var archive, live bool
	for _, line := range j.since(0) {
		archive = archive || strings.Contains(line, `msg="replaying the archive"`)
		live = live || strings.Contains(line, `msg="following upstream"`) && attr(line, "how") == "live"
	}
	if !archive || !live {
		t.Errorf("weft replayed the archive: %v, took up the live stream where it was: %v; both belong there", archive, live)
	}
}
