package db_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/export"
	"weft.dev/weft/db/inspect"
	"weft.dev/weft/link"
)

// TestReadBesideWriter: check, export and inspect read one moment of an index that a weft writes, seals, compacts and
// prunes meanwhile: nothing is missing, nothing is too much, and nothing is reported as damage.
func TestReadBesideWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var clock atomic.Int64
	s, err := db.Open(db.Config{Dir: dir, SealBytes: 1, ReplayWindow: 1, Bodies: db.BodiesKeep})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// Each event adds a link, so that log row n leaves n links.
	write := func() error {
		seq := uint64(clock.Add(1))
		rev := string(link.AppendTID(nil, seq<<10))
		_, err := s.Apply(db.Batch{Host: "h", Events: []apply.Event{{Seq: seq, TimeUS: int64(seq) * 1e6, Op: db.OpCreate,
			DID: fmt.Sprintf("did:plc:%024d", seq%50), Rev: rev, Rkey: rev, Collection: "app.bsky.feed.like",
			Links: []db.Link{{Path: "subject.uri", Target: fmt.Sprintf("https://example.com/%d", seq%20)}}}}})
		return err
	}
	for range 100 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = write()
		}
		ended <- err
	}()
	for range 8 {
		report, err := check.Run(t.Context(), dir, check.Options{All: true})
		if err != nil {
			t.Fatal(err)
		}
		if report.Total > 0 || len(report.Left) > 0 || len(report.Notes) > 0 {
			t.Fatalf("check beside a writer: problems %+v, left out %q, notes %q", report.Problems, report.Left, report.Notes)
		}
		in, err := inspect.Run(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if in.Links != int64(in.Log.Newest) || in.Records != in.Links || in.Uncounted != 0 {
			t.Fatalf("%d links of %d records at log row %d", in.Links, in.Records, in.Log.Newest)
		}
		for _, f := range in.Segments {
			if f.Fault != "" {
				t.Fatalf("segment %s: %s", f.File, f.Fault)
			}
		}
		e, err := export.Open(t.Context(), dir, export.Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := uint64(0)
		for r, err := range e.Records(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			n += uint64(len(r.Links))
		}
		if n != e.LogSeq {
			t.Fatalf("the export has %d links as of log row %d", n, e.LogSeq)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
