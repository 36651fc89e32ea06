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

// TestDamagedDedupRow: where a row of the log that the applier asks about a repeat has a number that none has, writing
// stops with the row, and not with an error of the driver.
func TestDamagedDedupRow(t *testing.T) {
	t.Parallel()
	for _, damage := range []string{"status = -1", "status = 256"} {
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
			dbtest.Statements("UPDATE records SET "+damage+" WHERE seq = 2")(t, dir)
			s = openWith(t, db.Config{Dir: dir})
			defer s.Close()
			_, err = s.Apply(db.Batch{Host: "other", Events: []apply.Event{record(1, 0, 0, db.OpCreate, "a")}})
			if !errors.Is(err, db.ErrFailed) || !errors.Is(err, codec.ErrMalformed) ||
				!strings.Contains(err.Error(), "log row 2: ") {
				t.Errorf("%v", err)
			}
		})
	}
}
