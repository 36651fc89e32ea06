package db_test

import (
	"errors"
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

// TestIdleResyncAfterFault: the account of a resync falls silent, and the store fails between two of the commits that
// end it. The cursor is then before the event that ends it, which comes again: nothing is left to do when the
// upstream's events are applied.
func TestIdleResyncAfterFault(t *testing.T) {
	t.Parallel()
	const records, kept = 40, 3
	other := func(sec int64, rkey string) apply.Event {
		e := record(0, sec, sec, db.OpCreate, rkey)
		e.DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
		return e
	}
	status := other(100, "")
	status.Op, status.Status = db.OpAccount, db.StatusDeactivated
	for _, tt := range []struct {
		name string
		last []apply.Event // the batch that ends the resync
	}{
		{"one event", []apply.Event{other(100, "a")}},
		{"several events", []apply.Event{other(20, "a"), other(30, "b"), other(100, "c")}},
		{"several events, late", []apply.Event{other(100, "a"), other(110, "b")}},
		{"a status", []apply.Event{other(20, "a"), status}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var failIn int
			cfg := db.Config{Dir: t.TempDir(), JobRecords: 4, Failpoint: func(name string) error {
				if name != "part" {
					return nil
				}
				failIn--
				if failIn == 0 {
					return errInjected
				}
				return nil
			}}
			var events []apply.Event
			add := func(more ...apply.Event) {
				for _, e := range more {
					e.Seq = uint64(len(events) + 1)
					events = append(events, e)
				}
			}
			for i := range records {
				add(record(0, 0, 0, db.OpCreate, strconv.Itoa(i)))
			}
			add(other(0, "of another"), at(0, 10, 10, db.OpSync))
			for i := range kept {
				add(record(0, 10, 10, db.OpCreate, strconv.Itoa(i)))
			}
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			if _, err := s.Apply(db.Batch{Host: "h", Events: events}); err != nil {
				t.Fatal(err)
			}
			add(tt.last...)
			faults := 0
			for s.Cursor("h") < uint64(len(events)) {
				failIn = 3 // the resync takes more parts
				_, err := s.Apply(db.Batch{Host: "h", Events: events[s.Cursor("h"):]})
				if err == nil {
					continue
				}
				if !errors.Is(err, errInjected) {
					t.Fatal(err)
				}
				faults++
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openWith(t, cfg)
			}
			if faults < 2 {
				t.Errorf("%d faults, want several", faults)
			}
			if err := modelOf(events).Compare(t.Context(), s, sampled(1)); err != nil {
				t.Error(err)
			}
		})
	}
}
