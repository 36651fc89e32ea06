package db_test

import (
	"strconv"
	"testing"

	"weft.dev/weft/db"
)

// TestLargeResync replaces an account of 100,000 records, while segments are sealed and the store is closed and opened
// again. No commit lowers a count before the resync ends; then the records go that did not follow, a bounded number with
// each commit.
func TestLargeResync(t *testing.T) {
	notShort(t)
	t.Parallel()
	const records, gone, added, batch, part = 100_000, 1000, 500, 2000, 200
	var s *db.Store
	parts, before := 0, int64(0)
	cfg := db.Config{Dir: t.TempDir(), SealBytes: 4 << 20, JobRecords: part, Failpoint: func(name string) error {
		if name == "part" {
			links := must(s.CountLinks(t.Context(), page, likes))
			if before-links > part {
				t.Errorf("a commit removes %d records, want at most %d", before-links, part)
			}
			parts, before = parts+1, links
		}
		return nil
	}}
	s = openWith(t, cfg)
	defer func() { _ = s.Close() }()
	seq := uint64(0)
	var events []db.Event
	event := func(e db.Event) { seq++; e.Seq = seq; events = append(events, e) }
	commit := func(atLeast, atMost int64) {
		t.Helper()
		if _, err := s.Apply(db.Batch{Host: "h", Events: events}); err != nil {
			t.Fatal(err)
		}
		events = events[:0]
		links, err := s.CountLinks(t.Context(), page, likes)
		dids := must(s.CountDIDs(t.Context(), page, likes))
		if err != nil || links < atLeast || links > atMost || dids != 1 {
			t.Fatalf("%d links of %d accounts after event %d, want %d to %d of one; %v", links, dids, seq, atLeast, atMost, err)
		}
	}
	rows := func(from, to int, sec int64, atLeast, atMost int64) {
		t.Helper()
		for i := from; i < to; i++ {
			if event(record(0, sec, sec, db.OpCreate, strconv.Itoa(i))); len(events) == batch {
				commit(atLeast, atMost)
			}
		}
	}
	rows(0, records, 0, 1, records)
	commit(records, records)
	event(at(0, 10, 10, db.OpSync))
	commit(records, records)
	rows(gone, records/2, 10, records, records)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, cfg)
	rows(records/2, records, 10, records, records)
	rows(records, records+added, 10, records, records+added)
	commit(records+added, records+added)
	event(record(0, 20, 20, db.OpDelete, "none"))
	parts, before = 0, records+added
	commit(records+added-gone, records+added-gone)
	if parts < gone/part {
		t.Errorf("the resync ends in %d parts, want %d", parts, gone/part)
	}
	if st, err := s.Stats(t.Context()); err != nil || st.Segments == 0 || st.Links != records+added-gone {
		t.Errorf("%+v, %v", st, err)
	}
}
