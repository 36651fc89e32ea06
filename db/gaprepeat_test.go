package db_test

import (
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestRepeatsOfGap: the events of a gap come again with those after it, as when a session breaks. They change nothing:
// the index has applied what came after them, and the gap's filler knows which of them count.
func TestRepeatsOfGap(t *testing.T) {
	t.Parallel()
	before := []apply.Event{record(1, 0, 0, db.OpCreate, "old")}
	for _, tc := range []struct {
		name       string
		gap, after []apply.Event
		want       int64 // links
	}{
		{name: "hidden, and shown after it", want: 2,
			gap:   []apply.Event{status(2, 10, db.StatusTakendown)},
			after: []apply.Event{status(4, 30, db.StatusActive), record(5, 40, 40, db.OpCreate, "new")}},
		{name: "hidden and shown in it", want: 2,
			gap:   []apply.Event{status(2, 10, db.StatusTakendown), status(3, 20, db.StatusActive)},
			after: []apply.Event{record(4, 40, 40, db.OpCreate, "new")}},
		{name: "deleted and created anew in it", want: 2, // the filler removes the old record
			gap:   []apply.Event{status(2, 10, db.StatusDeleted), status(3, 20, db.StatusActive)},
			after: []apply.Event{record(4, 40, 40, db.OpCreate, "new")}},
		{name: "a record that is gone since", want: 1,
			gap:   []apply.Event{record(2, 10, 10, db.OpCreate, "gone"), record(3, 20, 20, db.OpDelete, "gone")},
			after: []apply.Event{record(4, 40, 40, db.OpDelete, "none")}},
		{name: "a resync", want: 2,
			gap:   []apply.Event{at(2, 10, 10, db.OpSync), record(3, 20, 10, db.OpCreate, "synced")},
			after: []apply.Event{record(4, 40, 40, db.OpCreate, "new")}},
	} {
		for _, filled := range []string{"", "filled", "filled in parts"} {
			t.Run(tc.name+", "+filled, func(t *testing.T) {
				t.Parallel()
				s := openWith(t, db.Config{Dir: t.TempDir()})
				defer func() { _ = s.Close() }()
				send := func(events ...apply.Event) {
					t.Helper()
					if _, err := s.Apply(db.Batch{Host: "h", Events: events}); err != nil {
						t.Fatal(err)
					}
				}
				send(before...)
				if err := s.AddGap(db.Gap{Host: "h", From: 2, To: 3}); err != nil {
					t.Fatal(err)
				}
				id := must(s.Gaps(t.Context()))[0].ID
				send(tc.after...)
				if filled == "filled in parts" {
					if err := s.ShrinkGap(id, 3, t0); err != nil {
						t.Fatal(err)
					}
				}
				if filled != "" {
					if err := s.TriedGap(id, true, ""); err != nil {
						t.Fatal(err)
					}
				}
				send(before...)
				for _, e := range append(tc.gap, tc.after...) {
					send(e)
					if n := must(s.CountLinks(t.Context(), page, likes)); n != tc.want {
						t.Errorf("%d links after event %d came again, want %d", n, e.Seq, tc.want)
					}
				}
				send(status(6, 50, db.StatusTakendown)) // a new event still counts
				if n := must(s.CountLinks(t.Context(), page, likes)); n != 0 {
					t.Errorf("%d links of a hidden account", n)
				}
			})
		}
	}
}

// TestStatusesLostByOneHost: another host sends changes of status that the first one lost, after newer events of the
// network. The last of them counts.
func TestStatusesLostByOneHost(t *testing.T) {
	t.Parallel()
	s := openWith(t, db.Config{Dir: t.TempDir()})
	defer func() { _ = s.Close() }()
	for _, step := range []struct {
		host  string
		event apply.Event
		want  int64
	}{
		{"a", record(1, 0, 0, db.OpCreate, "1"), 1},
		{"a", byOther(record(2, 100, 100, db.OpCreate, "2")), 2},
		{"b", status(11, 10, db.StatusTakendown), 1},
		{"b", status(12, 20, db.StatusActive), 2},
		{"b", status(13, 30, db.StatusSuspended), 1},
		{"b", status(14, 40, db.StatusActive), 2},
		{"b", status(15, 35, db.StatusSuspended), 2}, // older than the last
	} {
		if _, err := s.Apply(db.Batch{Host: step.host, Events: []apply.Event{step.event}}); err != nil {
			t.Fatal(err)
		}
		if n := must(s.CountLinks(t.Context(), page, likes)); n != step.want {
			t.Errorf("%d links after event %d, want %d", n, step.event.Seq, step.want)
		}
	}
}
