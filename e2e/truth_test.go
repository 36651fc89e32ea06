package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

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
