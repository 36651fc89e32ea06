package db

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInspect: the figures of a known index; a segment that can't be read is said, and the rest is told all the same.
func TestInspect(t *testing.T) {
	t.Parallel()
	dir := makeFixture(t)
	in, err := Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Segments) != 2 || in.Segments[0].FromSeq != 1 || in.Segments[0].ToSeq != 1101 ||
		in.Segments[0].Links != fixtureLikes+2 {
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
	if b := in.Bodies; b.Mode != BodiesKeep || b.Bodies != 1101+3+1-1 || b.Blocks != b.Bodies ||
		b.Bytes < 20*b.Blocks || b.Raw < 19*b.Blocks || b.Raw > 22*b.Blocks {
		t.Errorf("bodies: %+v", b)
	}
	if in.Gaps != 0 || in.Resyncs != 0 || in.Jobs != 0 || in.MergeDue || len(in.Upstreams) != 1 || in.File.Bytes == 0 {
		t.Errorf("pending: %+v", in)
	}
	if _, err := os.Stat(filepath.Join(dir, "weft.db-wal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a WAL came: %v", err)
	}
	if err := os.Remove(segmentPath(t, dir, 1)); err != nil {
		t.Fatal(err)
	}
	if in, err = Inspect(t.Context(), dir); err != nil || in.Segments[1].Fault == "" || in.Segments[0].Fault != "" {
		t.Errorf("a segment is missing: %+v, %v", in, err)
	}
}

// TestCheckEnds: a check that is called off ends, and one whose segment is missing says how to go on.
func TestCheckEnds(t *testing.T) {
	t.Parallel()
	dir := makeFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Check(ctx, dir, CheckOptions{All: true, Progress: func(what string, _, _ int64) {
		if what == "records" {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if err := os.Remove(segmentPath(t, dir, 1)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		{func(*testing.T, string) {}, "or start weft serve: the log is complete"},
		{statements("DELETE FROM records WHERE seq < 50", "DELETE FROM links WHERE id < 50 << 12"),
			"restore the file from the replica"},
	} {
		tc.damage(t, dir)
		r, err := Check(t.Context(), dir, CheckOptions{})
		if err != nil || r.Total != 1 || !strings.Contains(r.Problems[0].Mend, tc.want) || len(r.Left) != 2 {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
