package db_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/keep"
)

// TestMarkedAccounts: pages of the accounts of a list, which are read by the marks of first links, are those that
// reading all of the list gives, total and cursor too: of accounts that link again, whose first link goes or gets an
// older one before it, and that are being hidden; from the first page on and behind cursors of long ago; whatever is
// in segments, in memory and in the cache.
func TestMarkedAccounts(t *testing.T) {
	t.Parallel()
	for seed := range seeds(6) {
		for _, c := range []struct {
			name     string
			accounts int
			repeats  int // a link in so many is by an account that is likely to have one
			rounds   int
			cfg      db.Config
		}{
			{"repeaters", 30, 1, 30, db.Config{SealBytes: 8 << 10}},
			{"many accounts", 2000, 8, 40, db.Config{SealBytes: 30 << 10}},
			{"repeaters by sets", 3000, 100, 60, db.Config{SealBytes: 30 << 10}},
			{"a horizon", 1000, 30, 60, db.Config{SealBytes: 8 << 10, Keep: must(keep.Parse("*=10m"))}},
			{"in memory", 300, 3, 30, db.Config{}},
			{"without a cache", 300, 3, 8, db.Config{SealBytes: 30 << 10, CacheBytes: 1}},
		} {
			t.Run(fmt.Sprintf("%s, seed %d", c.name, seed), func(t *testing.T) {
				t.Parallel()
				c.cfg.Dir = t.TempDir()
				c.cfg.JobRecords = 3
				c.cfg.ShortList = 3
				c.cfg.SetsOver = 5
				c.cfg.JobRest = -1
				c.cfg.ReplayWindow = time.Hour
				var now atomic.Int64
				now.Store(1_770_000_000_000_000)
				c.cfg.Now = func() time.Time { return time.UnixMicro(now.Load()) }
				compareMarked(t, openWith(t, c.cfg), &now, rand.New(rand.NewPCG(seed, 4)), c.accounts, c.repeats,
					c.rounds/fraction(2))
			})
		}
	}
}

func compareMarked(t *testing.T, s *db.Store, now *atomic.Int64, r *rand.Rand, accounts, repeats, rounds int) {
	defer func() { _ = s.Close() }()
	q := db.ListQuery{Target: "https://example.com/", Source: db.Source{Collection: "app.bsky.feed.like", Path: "subject"}}
	us := int64(1_770_000_000_000_000)
	var made []apply.Event
	var cursors [][]byte
	for round := range rounds {
		var events []apply.Event
		for range 1 + r.IntN(60) {
			us += 3_000_000
			account := r.IntN(accounts)
			if r.IntN(repeats) == 0 {
				account = r.IntN(1 + r.IntN(30))
			}
			e := apply.Event{Seq: uint64(us), TimeUS: us, DID: fmt.Sprintf("did:plc:%024d", account),
				Rev: newHistory(0).tid(us), Collection: q.Source.Collection}
			at := us
			n := r.IntN(100)
			if round%8 >= 3 { // segments without removals
				n = max(n, 25)
			}
			switch {
			case n < 3:
				e.Op = db.OpAccount
				e.Status = []db.Status{db.StatusDeactivated, db.StatusActive, db.StatusActive}[n]
			case n < 25 && len(made) > 0: // the oldest ones are first links
				i := r.IntN(1 + r.IntN(len(made)))
				e.Op = db.OpDelete
				e.DID, e.Rkey = made[i].DID, made[i].Rkey
				if r.IntN(2) == 0 { // it comes back
					events = append(events, e)
					us += 3_000_000
					e = made[i]
					e.Seq, e.TimeUS, e.Rev = uint64(us), us, newHistory(0).tid(us)
				}
			case n < 40:
				at -= r.Int64N(3_600_000_000) // an older link
				fallthrough
			default:
				e.Op = db.OpCreate
				e.Rkey = newHistory(0).tid(at)
				e.Links = []db.Link{{Path: q.Source.Path, Target: q.Target}}
				made = append(made, e)
			}
			events = append(events, e)
		}
		if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
			t.Fatal(err)
		}
		now.Store(us)
		if r.IntN(4) == 0 { // horizons move
			if err := s.PruneTick(); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(3) == 0 {
			untilNoJobs(t, s)
			sameCount(t, s, q, round)
		}
		after := [][]byte{nil}
		for range min(len(cursors), 3) {
			after = append(after, cursors[r.IntN(len(cursors))])
		}
		for _, at := range after {
			q.After = at
			q.Limit = 1 + r.IntN(1+r.IntN(200))
			for page := 0; page < 2; page++ {
				p := samePage(t, s, q, round)
				if p.Next == nil {
					break
				}
				cursors = append(cursors, p.Next)
				q.After = p.Next
			}
		}
	}
}

// sameCount counts the accounts of a list of which none is being hidden, by sets and by reading all.
func sameCount(t *testing.T, s *db.Store, q db.ListQuery, round int) {
	t.Helper()
	q.Limit = 1
	q.Until = 1 << 60
	q.After = nil
	whole, err := s.DIDs(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n, err := s.CountDIDs(t.Context(), q.Target, q.Source)
		if err != nil || n != whole.Total {
			t.Fatalf("round %d: %d accounts, not %d; %v", round, n, whole.Total, err)
		}
	}
	counts, err := s.Counts(t.Context(), []db.Pair{{Target: q.Target, Source: q.Source}}, nil)
	if err != nil || counts[0].DIDs != whole.Total {
		t.Fatalf("round %d: %v, not %d; %v", round, counts, whole.Total, err)
	}
}

// samePage asks for a page by marks and by reading all.
func samePage(t *testing.T, s *db.Store, q db.ListQuery, round int) db.Page[string] {
	t.Helper()
	all := q
	all.Until = 1 << 60 // a span of time is read whole; all links are in this one
	for {
		marked, err := s.DIDs(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := s.DIDs(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.DIDs(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(marked, again) {
			continue // a job hid an account meanwhile
		}
		if !reflect.DeepEqual(marked, whole) {
			i := 0
			for i < min(len(marked.Items), len(whole.Items)) && marked.Items[i] == whole.Items[i] {
				i++
			}
			t.Fatalf("round %d: item %d of a page of %d behind %x differs:\n%d accounts, %v\nand should be\n%d accounts, %v",
				round, i, q.Limit, q.After, marked.Total, marked.Items[i:], whole.Total, whole.Items[i:])
		}
		return marked
	}
}
