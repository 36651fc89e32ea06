package ingest

import (
	"fmt"
	"runtime"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// TestFillingMemory: what is noted of a record of a gap is of the size that FillRecords says, and what comes behind the
// gap, of other records, takes none.
func TestFillingMemory(t *testing.T) {
	const records = 100_000
	in := New(Config{Hosts: []string{"unused"}})
	f := newFilling(in, &db.Gap{}, upstream.Endpoint{URL: "unused"})
	f.from, f.to = 1, records
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	send := func(from, to uint64) {
		t.Helper()
		for pos := from; pos <= to; pos++ {
			e := upstream.Event{Pos: pos, Op: db.OpCreate, DID: fmt.Sprintf("did:plc:%024d", pos), Collection: "app.bsky.feed.like", Rkey: "self"}
			if err := f.event(&e); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := heap()
	send(1, records)
	if per := float64(heap()-before) / records; per > 90 { // a map that has just grown is half empty
		t.Errorf("a record takes %.0f bytes", per)
	}
	noted := heap()
	send(records+1, 4*records)
	if more := heap() - noted; more > 1<<20 {
		t.Errorf("what is behind the gap takes %d bytes", more)
	}
	if len(f.newest) != records {
		t.Errorf("%d records are noted", len(f.newest))
	}
}
