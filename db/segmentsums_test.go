package db_test

import (
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestSegmentSums: the counts of lists that are asked for again and again, which come from the cache of their sums, are
// those of the model: behind each seal and each compaction, when links go, and when the horizon passes them.
func TestSegmentSums(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, db.Config{SealBytes: 32 << 10}, "*=3h", map[string]time.Duration{"*": 3 * time.Hour})
	targets := []string{"https://example.com/a", "https://example.com/b",
		"at://did:plc:777777777777777777777777/app.bsky.feed.post/3l"}
	var likes []apply.Event
	for step := range 90 / fraction(1) {
		var events []apply.Event
		for i := range 40 {
			like := k.like(step*40+i, targets[(step*i+i)%len(targets)])
			like.Rkey = newHistory(0).tid(like.TimeUS + int64(i))
			events = append(events, like)
			likes = append(likes, like)
		}
		gone := likes[step*7]
		gone.Op, gone.Links, gone.Body = db.OpDelete, nil, nil
		gone.TimeUS, gone.Rev = events[0].TimeUS, newHistory(0).tid(events[0].TimeUS+100)
		k.apply(append(events, gone)...)
		k.compare(1000)
		k.after(4 * time.Minute)
		k.compare(1000)
		if step%10 == 9 {
			untilCompacted(t, k.s)
			k.compare(1000)
		}
	}
	st, err := k.s.Stats(t.Context())
	if err != nil || st.Segments == 0 {
		t.Errorf("%d segments, %v", st.Segments, err)
	}
}
