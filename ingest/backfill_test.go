package ingest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/bluesky-social/jetstream/segment"

	"weft.dev/weft/ingest/upstream"
)

// TestFillCuts: a block whose records have many links is split into several batches of about batchBytes.
func TestFillCuts(t *testing.T) {
	t.Parallel()
	record := []byte("\xa1\x61a\x99\x03\xe8")
	for i := range 1000 {
		record = fmt.Appendf(record, "\x65a:%03x", i)
	}
	const rows = 200
	block := func(do func(*segment.Event) error) error {
		for i := range uint64(rows) {
			row := segment.Event{Seq: 1 + i, WitnessedAt: 1_770_000_000_000_000, Kind: segment.KindCreate, DID: "did:web:a",
				Collection: "app.example.thing",
				Rkey:       fmt.Sprint(i), Rev: "3mdtsyunhbu22", Payload: record}
			err := do(&row)
			if err != nil {
				return err
			}
		}
		return nil
	}
	in := New(Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}}, Store: nil})
	r := &backfill{in: in, h: in.hosts[0], p: &startPoint{}}
	events, last, made := 0, uint64(0), 0
	err := r.batches(block, newExtractor(), func(full *batch) error {
		made++
		if full.cost() > batchBytes+1000*(linkCost+5)+eventCost+1000 {
			t.Errorf("a batch costs %d", full.cost())
		}
		for _, e := range full.Events {
			if len(e.Links) != 1000 || e.Seq <= last {
				t.Errorf("event %d has %d links, behind %d", e.Seq, len(e.Links), last)
			}
			last = e.Seq
		}
		if full.Seq != last {
			t.Errorf("a batch goes up to %d, and its last event is %d", full.Seq, last)
		}
		events += len(full.Events)
		return nil
	})
	if err != nil || events != rows || made < 10 {
		t.Errorf("%d events of %d in %d batches, %v", events, rows, made, err)
	}
	stop := errors.New("stop")
	if err := r.batches(block, newExtractor(), func(*batch) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
