package db_test

import (
	"context"
	"fmt"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestSpace: the bytes are those of the files, by level, and what was merged counts as written more than once.
func TestSpace(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, err := db.Open(db.Config{Dir: t.TempDir(), SealBytes: 1 << 12})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	empty, err := s.Space(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if empty.Database <= 0 || empty.Segments != 0 || empty.LogNewest != 0 || empty.Unsealed != 0 ||
		empty.Written.Sealed != 0 {
		t.Errorf("an empty index: %+v", empty)
	}
	if empty.Free <= 0 || empty.Total < empty.Free {
		t.Errorf("%d of %d bytes are free", empty.Free, empty.Total)
	}
	for i := range uint64(400) {
		if _, err := s.Apply(db.Batch{Host: "h", Seq: i + 1, TimeUS: int64(i + 1), Events: []apply.Event{{
			Seq: i + 1, TimeUS: int64(i + 1), Op: db.OpCreate, DID: fmt.Sprintf("did:plc:a%d",
				i), Collection: "a.b.like", Rkey: "r", Rev: "3kaaaaaaaaaa2",
			Links: []db.Link{{Path: "subject", Target: fmt.Sprintf("did:plc:b%d", i)}},
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	for s.Sealing() {
	}
	st, err := s.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sp, err := s.Space(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var files int
	var links, bytes int64
	for _, l := range sp.Levels {
		files, links, bytes = files+l.Files, links+l.Links, bytes+l.Bytes
	}
	if bytes != sp.Segments || bytes == 0 || files == 0 {
		t.Errorf("%d files of %d bytes, and %d in all", files, bytes, sp.Segments)
	}
	if sp.LogOldest != 1 || sp.LogNewest != 400 || links+sp.Unsealed < st.Links {
		t.Errorf("the log is %d to %d, with %d links in segments and %d rows in none", sp.LogOldest, sp.LogNewest,
			links, sp.Unsealed)
	}
	w := sp.Written
	if w.WAL != s.WALBytes() || w.WAL == 0 || w.Sealed+w.Compacted < sp.Segments ||
		(w.Compacted > 0) != (len(sp.Levels) > 1) {
		t.Errorf("%d bytes of segments in %d levels, and of the WAL %d; written: %+v", sp.Segments, len(sp.Levels),
			s.WALBytes(), w)
	}
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if sp, err = s.Space(ctx); err != nil {
		t.Fatal(err)
	}
	// Each frame of the WAL has been moved once, and is a page and a header long.
	if w := sp.Written; w.Checkpoint == 0 || w.Checkpoint/4096 != w.WAL/(4096+24) {
		t.Errorf("written: %+v", w)
	}
	if times, ok := w.Amplification(); !ok || times <= 1 {
		t.Errorf("%v times (%v)", times, ok)
	}
	for _, x := range []struct {
		w     db.Written
		times float64
		ok    bool
	}{{db.Written{WAL: 100, Checkpoint: 90}, 0, false}, {db.Written{WAL: 100, Checkpoint: 90, Sealed: 50, Compacted: 60},
		6, true}} {
		if times, ok := x.w.Amplification(); times != x.times || ok != x.ok {
			t.Errorf("%+v: %v, %v", x.w, times, ok)
		}
	}
}
