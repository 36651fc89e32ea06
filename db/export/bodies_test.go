package export_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/export"
	"weft.dev/weft/link"
)

// TestExportLargeBodies: records too large to be held together are read in pieces, and none is lost or exchanged, at
// the seams of windows neither.
func TestExportLargeBodies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := db.Open(db.Config{Dir: dir, Bodies: db.BodiesKeep})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.NewChaCha8([32]byte{7})
	noise := make([]byte, body.Max)
	want := map[string]string{} // CIDs by record key
	var events []apply.Event
	for i := range 100 {
		text := fmt.Append(nil, i)
		if i >= 20 && i < 54 {
			_, _ = r.Read(noise)
			text = noise
		}
		us := 1_770_000_000_000_000 + int64(i)
		e := apply.Event{Seq: uint64(i + 1), TimeUS: us, Op: db.OpCreate, DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
			Collection: "app.bsky.feed.like", Rkey: fmt.Sprintf("r%03d", 99-i),
			Rev:   string(link.AppendTID(nil, uint64(us)<<10)),
			Links: []db.Link{{Path: "subject.uri", Target: "https://example.com/"}},
			Body:  bytes.Clone(text), CID: body.Sum(text).CID()}
		want[e.Rkey] = e.CID
		for j := range 400 {
			e.Links = append(e.Links, db.Link{Path: "a[]", Target: fmt.Sprintf("https://example.com/%d", j)})
		}
		if events = append(events, e); len(events) == 10 {
			if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
				t.Fatal(err)
			}
			events = nil
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := export.Open(t.Context(), dir, export.Options{Bodies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	held := map[int]bool{}
	for r, err := range e.Records(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.CID != want[r.Rkey] || body.Sum(r.Body.CBOR).CID() != want[r.Rkey] {
			t.Errorf("%s has %s, not %s", r.Rkey, r.Body.CID, want[r.Rkey])
		}
		delete(want, r.Rkey)
		held[e.HeldBytes()] = true
		if n := e.HeldBytes(); n > 32<<20 {
			t.Fatalf("%d bytes of frames are held", n)
		}
	}
	if len(want) > 0 || len(held) < 2 {
		t.Errorf("%d records are missing; frames came in %d pieces", len(want), len(held))
	}
}
