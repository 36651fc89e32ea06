//go:build officialclient

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/jetstream"

	"weft.dev/weft/ingest/sim"
)

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
