package gapfill

import (
	"fmt"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/upstream"
)

// fakeBatch converts events without their links.
type fakeBatch struct{ events []apply.Event }

func (b *fakeBatch) Add(e *upstream.Event) {
	b.events = append(b.events, apply.Event{Seq: e.Pos, Op: e.Op, Status: e.Status, DID: e.DID, Collection: e.Collection,
		Rkey: e.Rkey, Rev: e.Rev})
}
func (b *fakeBatch) Events() []apply.Event { return b.events }
func (b *fakeBatch) Size() int             { return len(b.events) }
func (b *fakeBatch) Reset()                { b.events = nil }

const (
	someone    = "did:web:a.example"
	collection = "app.example.thing"
)

func change(op db.Op, pos uint64, rkey, rev string) *upstream.Event {
	return &upstream.Event{Pos: pos, Op: op, DID: someone, Collection: collection, Rkey: rkey, Rev: rev}
}

func statusEvent(pos uint64, s db.Status) *upstream.Event {
	return &upstream.Event{Pos: pos, Op: db.OpAccount, DID: someone, Status: s}
}

func syncEvent(pos uint64, rev string) *upstream.Event {
	return &upstream.Event{Pos: pos, Op: db.OpSync, DID: someone, Rev: rev}
}

// TestRecords: of the gap's events those are left that no later event supersedes, in the gap or after it.
func TestRecords(t *testing.T) {
	t.Parallel()
	type events = []*upstream.Event
	for _, tc := range []struct {
		name       string
		gap, after events
		left       []uint64 // positions of events of the gap
		status     bool     // a change of status is left
		rows       string   // record keys of a resync after the gap
		repo       int      // records of a repo that is known as a whole; -1: not known as a whole
	}{
		{"a record", events{change(db.OpCreate, 1, "x", "r1")}, nil, []uint64{1}, false, "", -1},
		{"the newest in the gap", events{change(db.OpCreate, 1, "x", "r1"), change(db.OpUpdate, 2, "x", "r2")}, nil,
			[]uint64{2}, false, "", -1},
		{"a later event", events{change(db.OpCreate, 1, "x", "r1"), change(db.OpCreate, 2, "y", "r2")},
			events{change(db.OpDelete, 9, "x", "r3")}, []uint64{2}, false, "", -1},
		{"a later deletion", events{change(db.OpCreate, 1, "x", "r1"), statusEvent(2, db.StatusSuspended)},
			events{statusEvent(9, db.StatusDeleted)}, nil, false, "", -1},
		{"a later sync", events{change(db.OpCreate, 1, "x", "r1")}, events{syncEvent(9, "r2")}, nil, false, "", -1},
		{"a deletion in the gap", events{change(db.OpCreate, 1, "x", "r1"), statusEvent(2, db.StatusDeleted),
			change(db.OpCreate, 3, "y", "r3")}, nil,
			[]uint64{3}, true, "", 1},
		{"a status", events{statusEvent(1, db.StatusSuspended)}, nil, nil, true, "", -1},
		{"a later status", events{statusEvent(1, db.StatusSuspended)}, events{statusEvent(9, db.StatusActive)}, nil, false,
			"", -1},
		{"a resync with its rows in the gap", events{change(db.OpCreate, 1, "x", "r1"), syncEvent(2, "r2"),
			change(db.OpCreate, 3, "y", "r2")}, nil,
			[]uint64{3}, false, "", 1},
		{"a resync with its rows after the gap", events{syncEvent(1, "r2")},
			events{change(db.OpCreate, 8, "x", "r2"), change(db.OpCreate, 9, "y", "r2")}, nil, false, "xy", 2},
		{"a row that a later event supersedes", events{syncEvent(1, "r2")},
			events{change(db.OpCreate, 8, "x", "r2"), change(db.OpDelete, 9, "x", "r3")}, nil, false, "", 1},
		{"rows of a later revision", events{syncEvent(1, "r2")},
			events{change(db.OpCreate, 8, "x", "r3"), change(db.OpCreate, 9, "y", "r4")}, nil, false, "x", 2},
	} {
		r := newRecords(&fakeBatch{})
		for _, e := range tc.gap {
			r.inGap(e)
		}
		for _, e := range tc.after {
			r.afterGap(e)
		}
		var left []uint64
		for _, e := range tc.gap {
			if e.Collection != "" && r.stillNewest(e.DID, e.Collection, e.Rkey, e.Pos) {
				left = append(left, e.Pos)
			}
		}
		status, rows, repo := false, "", -1
		if a := r.accounts[someone]; a != nil {
			status = a.status != nil
			for _, rkey := range []string{"x", "y"} {
				if i, ok := a.rows[db.Record{Collection: collection, Rkey: rkey}]; ok && r.kept.Events()[i].Rkey == rkey {
					rows += rkey
				}
			}
			if a.repo != nil {
				repo = len(a.repo)
			}
		}
		if fmt.Sprint(left) != fmt.Sprint(tc.left) || status != tc.status || rows != tc.rows || repo != tc.repo {
			t.Errorf("%s: events %v, a status %v, rows %q, a repo of %d", tc.name, left, status, rows, repo)
		}
	}
}

// fillStore records the events of each transaction.
type fillStore struct {
	Store
	filled [][]apply.Event
}

func (s *fillStore) Fill(events []apply.Event, _ []db.Repo) (apply.Counts, error) {
	s.filled = append(s.filled, append([]apply.Event(nil), events...))
	return apply.Counts{Changed: len(events)}, nil
}

// batches is a pipeline whose batches are fakeBatch.
type batches struct{ noPipeline }

func (batches) NewBatch() Batch { return &fakeBatch{} }

// TestPortion: a portion is applied in transactions of Config.Events, without the events that were superseded
// meanwhile.
func TestPortion(t *testing.T) {
	t.Parallel()
	store := &fillStore{}
	rows := 0
	cfg := New(Config{Store: store, Pipeline: batches{}, Events: 100, Filled: func(n int) { rows += n }}).cfg
	f := newFilling(cfg, &db.Gap{From: 1, To: 1000}, upstream.Endpoint{URL: "unused"}, true)
	for pos := range uint64(250) {
		e := change(db.OpCreate, pos+1, fmt.Sprint(pos+1), "r1")
		if err := f.firstPass(e); err != nil {
			t.Fatal(err)
		}
		if err := f.secondPass(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for pos := range uint64(10) { // come between the second pass and the transaction
		if err := f.firstPass(change(db.OpDelete, 2000+pos, fmt.Sprint(pos+1), "r2")); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.applyPortion(); err != nil {
		t.Fatal(err)
	}
	last := uint64(10)
	for _, events := range store.filled {
		if len(events) > 100 {
			t.Errorf("a transaction of %d events", len(events))
		}
		for _, e := range events {
			if e.Seq != last+1 {
				t.Errorf("event %d after %d", e.Seq, last)
			}
			last = e.Seq
		}
	}
	if last != 250 || rows != 240 || len(f.portion.Events()) != 0 {
		t.Errorf("applied up to %d, %d rows, %d events are left in the portion", last, rows, len(f.portion.Events()))
	}
}
