package db_test

import (
	"strconv"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestLargeResync replaces an account of 100,000 records, by default 25,000, while segments are sealed and the store is
// closed and opened again. No commit lowers a count before the resync ends; then the records go that did not follow, a
// bounded number with each commit.
func TestLargeResync(t *testing.T) {
	notShort(t)
	t.Parallel()
	const gone, added, batch, part = 1000, 500, 2000, 200
	n := 100_000 / fraction(4)
	records := int64(n)
	var s *db.Store
	parts, before := 0, int64(0)
	cfg := db.Config{Dir: t.TempDir(), SealBytes: 4 << 20 / fraction(4), JobRecords: part,
		Failpoint: func(name string) error {
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
	var events []apply.Event
	event := func(e apply.Event) { seq++; e.Seq = seq; events = append(events, e) }
	commit := func(atLeast, atMost int64) {
		t.Helper()
		if _, err := s.Apply(db.Batch{Host: "h", Events: events}); err != nil {
			t.Fatal(err)
		}
		events = events[:0]
		links, err := s.CountLinks(t.Context(), page, likes)
		dids := must(s.CountDIDs(t.Context(), page, likes))
		if err != nil || links < atLeast || links > atMost || dids != 1 {
			t.Fatalf("%d links of %d accounts after event %d, want %d to %d of one; %v", links, dids, seq, atLeast,
				atMost, err)
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
	rows(0, n, 0, 1, records)
	commit(records, records)
	event(at(0, 10, 10, db.OpSync))
	commit(records, records)
	rows(gone, n/2, 10, records, records)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, cfg)
	rows(n/2, n, 10, records, records)
	rows(n, n+added, 10, records, records+added)
	commit(records+added, records+added)
	event(record(0, 20, 20, db.OpDelete, "none"))
	parts, before = 0, records+added
	commit(records+added-gone, records+added-gone)
	if parts < gone/part {
		t.Errorf("the resync ends in %d parts, want %d", parts, gone/part)
	}
	untilSealed(t, s)
	if st, err := s.Stats(t.Context()); err != nil || st.Segments == 0 || st.Links != records+added-gone {
		t.Errorf("%+v, %v", st, err)
	}
}
