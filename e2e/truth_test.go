package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/jetstream"

	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// oracle is the reference model with all events of an upstream.
type oracle struct {
	dbtest.Model
	reader truth.Reader
	tip    uint64 // sequence number of the last event
	events int
	kinds  map[sim.Kind]int
}

func newOracle() *oracle { return &oracle{kinds: map[sim.Kind]int{}} }

// apply applies an event to the model.
func (o *oracle) apply(e sim.Event) error {
	if e.Seq <= o.tip {
		return fmt.Errorf("event %d comes after %d", e.Seq, o.tip)
	}
	o.tip = e.Seq
	o.events++
	o.kinds[e.Kind]++
	out, _, _ := o.reader.Event(e) // an unreadable record has no links
	if out.Op == 0 && e.Kind != sim.KindIdentity {
		return fmt.Errorf("event %d is of an unknown kind: %s %s %s", e.Seq, e.Kind, e.Operation, e.Status)
	}
	o.Apply(out)
	return nil
}

// follow reads an upstream with the official client from its first event to its tip, without interruption: unlike weft,
// which was killed meanwhile, its result depends on no cursor and no repeated event.
func (o *oracle) follow(t *testing.T, url string, tip uint64) {
	t.Helper()
	client, err := jetstream.Subscribe(url, jetstream.WithAfterSeq(0), jetstream.WithRawRecords())
	if err != nil {
		t.Fatalf("read the whole network: %v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for batch, err := range client.Events(ctx) {
		if err != nil {
			t.Fatalf("read the whole network, after event %d: %v", o.tip, err) // any error may mean a missing event
		}
		for _, e := range batch.Events() {
			if err := o.apply(ofJetstream(&e)); err != nil {
				t.Fatal(err)
			}
		}
		if o.tip >= tip {
			break
		}
	}
	if o.tip != tip {
		t.Fatalf("read the whole network as far as event %d, not to its tip %d", o.tip, tip)
	}
}

// ofJetstream converts an event of the official client to a sim.Event.
func ofJetstream(e *jetstream.Event) sim.Event {
	// The client's strings are valid only until its next read.
	out := sim.Event{Seq: e.Seq, TimeUS: e.TimeUS, Kind: sim.Kind(e.Kind), DID: strings.Clone(e.DID)}
	switch {
	case e.Commit != nil:
		c := e.Commit
		out.Operation, out.Rev = string(c.Operation), strings.Clone(c.Rev)
		out.Collection, out.Rkey = strings.Clone(c.Collection), strings.Clone(c.Rkey)
		out.CBOR = c.RecordCBOR
	case e.Account != nil:
		out.Active, out.Status = e.Account.Active, e.Account.Status
	case e.Sync != nil:
		out.Rev = e.Sync.Rev
	}
	return out
}

// settleWithin limits the time to commit the received events.
const settleWithin = 10 * time.Second

// compare compares all answers of weft with the model, after weft has committed the received events.
func (o *oracle) compare(t *testing.T, w *weft, depth dbtest.Depth) {
	t.Helper()
	w.quiet(t)
	if gaps, err := metric(w.metrics, "weft_gaps"); err != nil || gaps != 0 {
		t.Errorf("weft reports %v gaps (%v), and nothing was lost", gaps, err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := o.Compare(ctx, index{w.queries}, depth); err != nil {
		t.Errorf("weft and the model differ: %v", err)
	}
	t.Logf("%d lists of %d records, from %d events %v: compared in %s", len(o.Lists()), o.Records(), o.events, o.kinds,
		time.Since(start).Round(time.Millisecond))
}
