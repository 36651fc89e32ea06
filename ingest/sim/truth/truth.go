// Package truth computes the expected content of an index from the events of the synthetic network: it converts them to
// events of the store without ingest, for tests and benchmarks.
package truth

import (
	"fmt"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/sim"
)

// Reader converts events of the network to events of the store. The zero Reader is ready.
type Reader struct{ x *extract.Extractor }

var ops = map[string]db.Op{sim.OpCreate: db.OpCreate, sim.OpUpdate: db.OpUpdate, sim.OpDelete: db.OpDelete}

var statuses = map[string]db.Status{
	sim.StatusDeactivated: db.StatusDeactivated, sim.StatusSuspended: db.StatusSuspended,
	sim.StatusTakendown: db.StatusTakendown, sim.StatusDeleted: db.StatusDeleted,
}

// Event converts an event; ok is false for one that doesn't affect an index.
func (r *Reader) Event(e sim.Event) (out apply.Event, ok bool, err error) {
	out = apply.Event{Seq: e.Seq, TimeUS: e.TimeUS, DID: e.DID, Rev: e.Rev, Collection: e.Collection, Rkey: e.Rkey}
	switch e.Kind {
	case sim.KindCommit:
		out.Op = ops[e.Operation]
		if e.CBOR == nil {
			return out, true, nil
		}
		out.CID = e.CID
		out.Body = e.CBOR
		if r.x == nil {
			r.x = extract.New(extract.Limits{})
		}
		links, err := r.x.CBOR(e.CBOR)
		if err != nil {
			return out, false, fmt.Errorf("truth: record of event %d: %w", e.Seq, err)
		}
		for _, l := range links {
			out.Links = append(out.Links, db.Link{Path: string(l.Path), Target: string(l.Target)})
		}
	case sim.KindAccount:
		out.Op = db.OpAccount
		if !e.Active {
			out.Status, ok = statuses[e.Status]
			if !ok {
				out.Status = db.StatusInactive
			}
		}
	case sim.KindSync:
		out.Op = db.OpSync
	default:
		return out, false, nil
	}
	return out, true, nil
}

// Events returns the first n events of a network that affect an index.
func Events(cfg sim.NetworkConfig, n int) ([]apply.Event, error) {
	network := sim.NewNetwork(cfg)
	events := make([]apply.Event, 0, n)
	for r := (Reader{}); len(events) < n; {
		e, ok, err := r.Event(network.Next())
		if err != nil {
			return nil, err
		}
		if ok {
			events = append(events, e)
		}
	}
	return events, nil
}

// Model returns the expected content of an index that has followed a server from a sequence number to its tip.
func Model(s *sim.Server, from uint64) (*dbtest.Model, error) {
	m := &dbtest.Model{}
	r := Reader{}
	err := s.Replay(from, func(e sim.Event) error {
		out, _, err := r.Event(e)
		m.Apply(out) // an event that doesn't affect an index still moves the clock
		return err
	})
	return m, err
}
