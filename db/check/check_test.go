package check_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
)

// TestCheckEnds: a cancelled check ends, and a missing segment is reported with its repair.
func TestCheckEnds(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := check.Run(ctx, dir, check.Options{All: true, Progress: func(what string, _, _ int64) {
		if what == "records" {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if err := os.Remove(dbtest.SegmentPath(t, dir, 1)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		{func(*testing.T, string) {}, "or start weft serve: the log is complete"},
		{dbtest.Statements("DELETE FROM links WHERE id < 50 << 12", "DELETE FROM records WHERE seq < 50"),
			"restore the file from the replica"},
	} {
		tc.damage(t, dir)
		r, err := check.Run(t.Context(), dir, check.Options{})
		if err != nil || r.Total != 1 || !strings.Contains(r.Problems[0].Mend, tc.want) || len(r.Left) != 2 {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
