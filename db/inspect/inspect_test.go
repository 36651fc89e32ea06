package inspect_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/inspect"
)

// TestInspect: the figures of a known index; a segment that can't be read is said, and the rest is told all the same.
func TestInspect(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	in, err := inspect.Run(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Segments) != 2 || in.Segments[0].FromSeq != 1 || in.Segments[0].ToSeq != 1101 ||
		in.Segments[0].Links != dbtest.FixtureLikes+2 {
		t.Errorf("segments: %+v", in.Segments)
	}
	for _, s := range in.Segments {
		if s.Targets <= 0 || s.Records <= 0 || s.Names < 0 || s.Targets+s.Records+s.Names > s.Bytes || s.Fault != "" {
			t.Errorf("segment: %+v", s)
		}
	}
	// 1,101 records come; 4 likes go, and one with its account; 3 profiles come.
	if l := in.Log; l.Oldest != 1 || l.Newest != 1111 || l.Unsealed != 3 || l.Links != 1101+1+3+2*2+1+2 ||
		l.NewestUS <= l.OldestUS {
		t.Errorf("log: %+v", l)
	}
	if in.Actors != 1101 || in.Inactive != 2 || in.Collections != 3 || in.Sources != 3 || in.Records != 1101-3-1+2 {
		t.Errorf("names: %+v", in)
	}
	// Those of the records that came and the one that changed, but not that of the account that was deleted.
	if b := in.Bodies; b.Mode != db.BodiesKeep || b.Bodies != 1101+3+1-1 || b.Blocks != b.Bodies ||
		b.Bytes < 20*b.Blocks || b.Raw < 19*b.Blocks || b.Raw > 22*b.Blocks {
		t.Errorf("bodies: %+v", b)
	}
	if in.Gaps != 0 || in.Resyncs != 0 || in.Jobs != 0 || in.CompactionDue || len(in.Upstreams) != 1 ||
		in.File.Bytes == 0 {
		t.Errorf("pending: %+v", in)
	}
	if _, err := os.Stat(filepath.Join(dir, "weft.db-wal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a WAL came: %v", err)
	}
	if err := os.Remove(dbtest.SegmentPath(t, dir, 1)); err != nil {
		t.Fatal(err)
	}
	if in, err = inspect.Run(t.Context(), dir); err != nil || in.Segments[1].Fault == "" || in.Segments[0].Fault != "" {
		t.Errorf("a segment is missing: %+v, %v", in, err)
	}
}
