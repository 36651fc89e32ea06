package db_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestMembersOfSegments: the count of accounts of a list is exact however many seals and compactions lie between two
// requests, of which the second grows what the first has cached or makes it anew.
func TestMembersOfSegments(t *testing.T) {
	t.Parallel()
	for seed := range seeds(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			s := openWith(t, db.Config{Dir: t.TempDir(), SealBytes: 4 << 10, ShortList: 3, SetsOver: 1 + int(seed)*20})
			defer func() { _ = s.Close() }()
			r := rand.New(rand.NewPCG(seed, 9))
			q := db.ListQuery{Target: "https://example.com/", Limit: 1,
				Source: db.Source{Collection: "app.bsky.feed.like", Path: "subject"}}
			us := int64(1_770_000_000_000_000)
			var made []apply.Event
			for round := range 25 {
				for range 1 + r.IntN(1+r.IntN(30)) {
					var events []apply.Event
					for range 40 {
						us += 1_000_000
						e := apply.Event{Seq: uint64(us), TimeUS: us, DID: fmt.Sprintf("did:plc:%024d", r.IntN(1+r.IntN(3000))),
							Rev: newHistory(0).tid(us), Collection: q.Source.Collection}
						if r.IntN(3) == 0 && len(made) > 0 {
							i := r.IntN(len(made))
							e.Op = db.OpDelete
							e.DID, e.Rkey = made[i].DID, made[i].Rkey
							made[i] = made[len(made)-1]
							made = made[:len(made)-1]
						} else {
							e.Op = db.OpCreate
							e.Rkey = e.Rev
							e.Links = []db.Link{{Path: q.Source.Path, Target: q.Target}}
							made = append(made, e)
						}
						events = append(events, e)
					}
					_, err := s.Apply(db.Batch{Host: "test", Events: events})
					if err != nil {
						t.Fatal(err)
					}
				}
				if r.IntN(2) == 0 {
					_, err := s.Compact(t.Context(), func(int64, int64) {})
					if err != nil {
						t.Fatal(err)
					}
				}
				sameCount(t, s, q, round)
			}
		})
	}
}
