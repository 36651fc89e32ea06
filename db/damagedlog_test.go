package db_test

import (
	"errors"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/dbtest"
)

// TestDamagedDedupRow: where a block of the log that the applier asks about a repeat is damaged, writing stops, and the
// error names its rows.
func TestDamagedDedupRow(t *testing.T) {
	t.Parallel()
	for _, damage := range []string{"rows = x'01'", "rows = CAST(rows || x'00' AS BLOB)"} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := openWith(t, db.Config{Dir: dir, SealBytes: 1})
			_, err := s.Apply(db.Batch{Host: "h", Events: []apply.Event{record(1, 0, 0, db.OpCreate, "a"),
				status(2, 10, db.StatusTakendown), status(3, 11, db.StatusActive)}})
			if err != nil {
				t.Fatal(err)
			}
			untilSealed(t, s)
			err = s.Close()
			if err != nil {
				t.Fatal(err)
			}
			dbtest.Statements("UPDATE log SET "+damage)(t, dir)
			s = openWith(t, db.Config{Dir: dir})
			defer s.Close()
			_, err = s.Apply(db.Batch{Host: "other", Events: []apply.Event{record(1, 0, 0, db.OpCreate, "a")}})
			if !errors.Is(err, db.ErrFailed) || !errors.Is(err, codec.ErrMalformed) ||
				!strings.Contains(err.Error(), "the block of log rows 1 to ") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestDamagedResync: a start names the resync whose sealed rows have a number that none has.
func TestDamagedResync(t *testing.T) {
	t.Parallel()
	for _, damage := range []string{
		"UPDATE log SET rows = x'01'",
		"UPDATE resyncs SET sync_seq = -1",
	} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := openWith(t, db.Config{Dir: dir, SealBytes: 1})
			_, err := s.Apply(db.Batch{Host: "h", Events: []apply.Event{record(1, 0, 0, db.OpCreate, "a"),
				at(2, 10, 10, db.OpSync), record(3, 10, 10, db.OpCreate, "a")}})
			if err != nil {
				t.Fatal(err)
			}
			untilSealed(t, s)
			err = s.Close()
			if err != nil {
				t.Fatal(err)
			}
			dbtest.Statements(damage)(t, dir)
			s, err = db.Open(db.Config{Dir: dir})
			if err == nil {
				t.Fatal(errors.Join(errors.New("it starts"), s.Close()))
			}
			if !errors.Is(err, codec.ErrMalformed) || !strings.Contains(err.Error(), "resync") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestOpenGapOfResync: Stats counts the gap of a resync that no upstream completes.
func TestOpenGapOfResync(t *testing.T) {
	t.Parallel()
	s := openWith(t, db.Config{Dir: t.TempDir()})
	defer s.Close()
	const twoDays = 2 * 24 * 3600
	for _, step := range []struct {
		host   string
		events []apply.Event
		want   int64
	}{
		{"h", []apply.Event{record(1, 0, 0, db.OpCreate, "a"), at(2, 10, 10, db.OpSync)}, 0},
		{"other", []apply.Event{byOther(record(1, twoDays, twoDays, db.OpCreate, "b")),
			byOther(record(2, twoDays+1, twoDays+1, db.OpCreate, "c"))}, 1},
	} {
		_, err := s.Apply(db.Batch{Host: step.host, Events: step.events})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Stats(t.Context())
		if err != nil || st.Gaps != step.want {
			t.Errorf("after events of %s there are %d open gaps, %v, want %d", step.host, st.Gaps, err, step.want)
		}
	}
}
