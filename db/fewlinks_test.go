package db_test

import (
	"fmt"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestFewLinks: the counts and the sources of targets with few links, which come from the cache of these, are those of
// the model: behind each seal and each compaction, of accounts that link twice and from two sources, when links go,
// come again or are hidden, and when they become many.
func TestFewLinks(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, db.Config{SealBytes: 24 << 10}, "", nil)
	const targets = 40
	var there []apply.Event // in memory or in segments
	for step := range 70 / fraction(1) {
		var events []apply.Event
		for i := range 30 {
			n := step*30 + i
			e := k.like(n%200, fmt.Sprintf("https://example.com/%d", n*n%targets))
			if n%7 == 0 { // all of these go to one target, until they are many
				e.Links[0].Target = "https://example.com/many"
			}
			e.Rkey = newHistory(0).tid(e.TimeUS + int64(i))
			if n%3 == 0 {
				e.Collection = "app.bsky.feed.repost"
			}
			events = append(events, e)
			there = append(there, e)
		}
		for i := range 8 { // old and new ones, and some of them come again at the next step
			e := there[(step*31+i*17)%len(there)]
			e.TimeUS, e.Rev = k.clock.Load()*1_000_000, newHistory(0).tid(k.clock.Load()*1_000_000+int64(500+i))
			if (step+i)%3 > 0 {
				e.Op, e.Links, e.Body = db.OpDelete, nil, nil
			}
			events = append(events, e)
		}
		if step%5 == 4 {
			e := apply.Event{TimeUS: k.clock.Load() * 1_000_000, Op: db.OpAccount, Status: db.StatusDeactivated,
				DID: fmt.Sprintf("did:plc:%024d", step/10)}
			if step%10 == 9 {
				e.Status = db.StatusActive
			}
			events = append(events, e)
		}
		k.apply(events...)
		k.clock.Add(2)
		untilNoJobs(t, k.s)
		k.compare(1000)
		if step%15 == 14 {
			untilCompacted(t, k.s)
			k.compare(1000)
		}
	}
	st, err := k.s.Stats(t.Context())
	if err != nil || st.Segments == 0 {
		t.Errorf("%d segments, %v", st.Segments, err)
	}
}
