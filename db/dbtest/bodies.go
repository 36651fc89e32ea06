package dbtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"weft.dev/weft/db"
)

// Bodies is what a store answers about the content of records.
type Bodies interface {
	Bodies(ctx context.Context, records []db.Record) ([]db.Body, error)
}

// HiddenBodies gives the content of the records of accounts that are not active.
func (m *Model) HiddenBodies() map[db.Record]db.Body {
	bodies := map[db.Record]db.Body{}
	m.each(func(s db.Status) bool { return s != db.StatusActive },
		func(key db.Record, r record) { bodies[key] = r.body })
	return bodies
}

// CompareBodies asks for the content of every record that the model knows, of hidden and deleted accounts too, and
// returns the first difference. Content may be absent only where the model has none, the account is not active, or
// missing allows it.
func (m *Model) CompareBodies(ctx context.Context, x Bodies, missing func(db.Record) bool) error {
	m.Settle()
	want := map[db.Record]db.Body{}
	for _, a := range m.accounts {
		for key, r := range a.records {
			want[key] = r.body
			if a.status != db.StatusActive {
				want[key] = db.Body{}
			}
		}
	}
	for records := range slices.Chunk(slices.Collect(maps.Keys(want)), db.MaxBodies-1) {
		records = append(records, db.Record{DID: "did:web:nobody.example", Collection: "com.example.none", Rkey: "x"})
		got, err := x.Bodies(ctx, records)
		if err != nil {
			return err
		}
		if len(got) != len(records) {
			return fmt.Errorf("asked for %d bodies, the index answers with %d", len(records), len(got))
		}
		for i, key := range records {
			w := want[key]
			if got[i].CID == "" && w.CID != "" && missing(key) {
				continue
			}
			if got[i].CID != w.CID || !bytes.Equal(got[i].CBOR, w.CBOR) {
				return fmt.Errorf("%v: the index has the body %s %.20x…, the model %s %.20x…", key, got[i].CID,
					got[i].CBOR, w.CID,
					w.CBOR)
			}
		}
	}
	return nil
}
