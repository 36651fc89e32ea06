package db_test

import (
	"fmt"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/model"
)

// restAt is the newest index up to n at which no resync can be open: nothing of one lies within two minutes before it.
func restAt(sent []db.Event, n int) int {
	for ; n > 0; n-- {
		open := false
		for i := n - 1; i >= 0 && sent[n-1].TimeUS-sent[i].TimeUS < 130_000_000; i-- {
			open = open || sent[i].Op == db.OpSync
		}
		if !open {
			return n
		}
	}
	return 0
}

// TestSeveralHosts follows three hosts in turn, which send the same, leaving each at any moment, also in the middle of a
// resync, and taking the next one up at a place before that.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	for seed := range seeds(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(1000 + seed)
			cfg := db.Config{Dir: t.TempDir(), JobRecords: 2}
			if seed%2 == 0 {
				cfg.SealBytes, cfg.CacheBytes = 4<<10, 1<<16
			}
			var m model.Model
			var sent []db.Event
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			at, host := map[string]int{}, "a" // how far each host was followed
			for step := range 80 {
				for range h.r.IntN(30) {
					events := h.next()
					sent = append(sent, events...)
					for _, e := range events {
						m.Apply(e)
					}
				}
				if h.r.IntN(3) == 0 {
					from := min(at["a"], at["b"], at["c"])
					if to := max(at["a"], at["b"], at["c"]); h.r.IntN(2) == 0 {
						from = min(restAt(sent, to), at[host])
					}
					host = pick(h.r, "a", "b", "c")
					at[host] = min(at[host], from)
				}
				catchUp := func(host string, last int) {
					for from := at[host]; from < last; {
						to := from + 1 + h.r.IntN(last-from)
						if _, err := s.Apply(db.Batch{Host: host, Events: sent[from:to]}); err != nil {
							t.Fatal(err)
						}
						from, at[host] = to, to
						if h.r.IntN(12) == 0 {
							if err := s.Close(); err != nil {
								t.Fatal(err)
							}
							s = openWith(t, cfg)
						}
					}
				}
				catchUp(host, min(len(sent), at[host]+1+h.r.IntN(40))) // it is left before it has sent all
				if step%4 == 3 {
					// What a host was left with in the middle it ends when it is back, or a newer resync of another does: all end here.
					h.now += 200_000_000
					end := h.event("did:plc:"+fmt.Sprintf("%024d", 99), db.OpAccount)
					m.Apply(end)
					sent = append(sent, end)
					for _, host := range pick(h.r, []string{"a", "b", "c"}, []string{"c", "b", "a"}, []string{"b", "a", "c"}) {
						catchUp(host, len(sent))
					}
				}
				if step%4 == 3 {
					untilNoJobs(t, s)
					if err := m.Compare(t.Context(), s, model.Depth{Page: 3}); err != nil {
						t.Fatalf("step %d, %d events, on host %s: %v", step, len(sent), host, err)
					}
				}
			}
		})
	}
}

// TestSyncComesAgain: a sync whose resync is complete comes again in a rewind that is cut before its rows are all there,
// and then nothing more is heard of the account: its records stay.
func TestSyncComesAgain(t *testing.T) {
	t.Parallel()
	cfg := db.Config{Dir: t.TempDir()}
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	const us = 1_770_000_000_000_000
	h, subject, source := newHistory(0), "https://example.com/", db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}
	links := []db.Link{{Path: source.Path, Target: subject}}
	event := func(seq uint64, op db.Op, did, rkey string, second int64, rev int64) db.Event {
		e := db.Event{Seq: seq, TimeUS: us + second*1_000_000, Op: op, DID: did, Rev: h.tid(us + rev)}
		if op != db.OpSync {
			e.Collection, e.Rkey, e.Links = source.Collection, rkey, links
		}
		return e
	}
	apply := func(events ...db.Event) {
		t.Helper()
		if _, err := s.Apply(db.Batch{Host: "a", Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	resync := []db.Event{event(10, db.OpSync, alice, "", 10, 10), event(11, db.OpCreate, alice, "a", 10, 10), event(12, db.OpCreate, alice, "b", 10, 10)}
	apply(event(1, db.OpCreate, alice, "a", 1, 1), event(2, db.OpCreate, alice, "b", 2, 2), event(3, db.OpCreate, alice, "gone", 3, 3))
	apply(resync...)
	apply(event(20, db.OpCreate, bob, "c", 200, 20)) // the resync ends, for its account is silent
	count := func(want int64) {
		t.Helper()
		if n, err := s.CountLinks(t.Context(), subject, source); err != nil || n != want {
			t.Errorf("%d links, want %d; %v", n, want, err)
		}
	}
	count(3)
	apply(resync[:2]...)
	apply(event(21, db.OpCreate, bob, "d", 400, 21), event(22, db.OpCreate, bob, "e", 800, 22))
	count(5)
}
