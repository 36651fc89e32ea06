package gapfill

import (
	"fmt"
	"runtime"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// noPipeline keeps all events and converts none.
type noPipeline struct{}

func (noPipeline) Host() string                    { return "" }
func (noPipeline) Keeps(*upstream.Event) bool      { return true }
func (noPipeline) KeepsLinks(*upstream.Event) bool { return true }
func (noPipeline) NewBatch() Batch                 { return nil }
func (noPipeline) PauseCommits() (resume func())   { return func() {} }

// TestFillingMemory: a noted record of a gap takes the memory that Config.Records states, and other records after the
// gap take none.
func TestFillingMemory(t *testing.T) {
	const records = 100_000
	cfg := New(Config{Pipeline: noPipeline{}}).cfg
	f := newFilling(cfg, &db.Gap{From: 1, To: records}, upstream.Endpoint{URL: "unused"}, true)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	send := func(from, to uint64) {
		t.Helper()
		for pos := from; pos <= to; pos++ {
			e := upstream.Event{Pos: pos, Op: db.OpCreate, DID: fmt.Sprintf("did:plc:%024d", pos),
				Collection: "app.bsky.feed.like", Rkey: "self"}
			if err := f.firstPass(&e); err != nil {
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
		t.Errorf("records after the gap take %d bytes", more)
	}
	if len(f.records.newest) != records {
		t.Errorf("%d records are noted", len(f.records.newest))
	}
}
