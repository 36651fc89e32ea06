package db_test

import (
	"fmt"
	"slices"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// TestSourcesOfAnyLength: the sources of a target have their counts on pages of any size, whether their lists are
// short, long or at the limit between them.
func TestSourcesOfAnyLength(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	const target = "at://did:plc:author/app.bsky.feed.post/3kpost"
	var want []db.SourceCount
	var events []apply.Event
	for i, n := range []int{1, 64, 65, 2, 63, 600, 128, 1} {
		source := db.Source{Collection: fmt.Sprint("com.example.kind", i), Path: "subject"}
		for k := range n {
			seq := uint64(len(events) + 1)
			rkey := string(link.AppendTID(nil, (1_700_000_000_000_000+seq)<<10))
			events = append(events, apply.Event{Seq: seq, TimeUS: int64(1_770_000_000_000_000 + seq), Op: db.OpCreate,
				DID: fmt.Sprint("did:plc:n", k/2), Collection: source.Collection, Rkey: rkey, Rev: rkey,
				Links: []db.Link{{Path: source.Path, Target: target}}})
		}
		want = append(want, db.SourceCount{Source: source, Links: int64(n), DIDs: int64(n+1) / 2})
	}
	_, err := s.Apply(db.Batch{Host: "test", Events: events})
	if err != nil {
		t.Fatal(err)
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []db.SourceCount
		for after := []byte(nil); ; {
			page, err := s.Sources(t.Context(), db.SourcesQuery{Of: target, Limit: limit, After: after})
			if err != nil || len(page.Items) > limit {
				t.Fatal(len(page.Items), err)
			}
			got = append(got, page.Items...)
			after = page.Next
			if after == nil {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %+v, want %+v", limit, got, want)
		}
	}
}
