package db_test

import (
	"fmt"
	"hash/crc32"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
)

// restAt is the newest index up to n at which no resync can be open: nothing of one lies within two minutes before it.
func restAt(sent []apply.Event, n int) int {
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

// TestSeveralHosts follows three hosts in turn, which send the same, leaving each at any moment, also in the middle of
// a resync, and taking the next one up at a place before that.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	for seed := range seeds(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(1000 + seed)
			cfg := db.Config{Dir: t.TempDir(), JobRecords: 2, JobRest: -1}
			if seed%2 == 0 {
				cfg.SealBytes, cfg.CacheBytes = 4<<10, 1<<16
			}
			if seed%3 == 0 {
				cfg.DedupEvents = 20 // most of what comes again is older than the window
			}
			var m dbtest.Model
			var sent []apply.Event
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			at, host := map[string]int{}, "a" // how far each host was followed
			for step := range 80 / fraction(2) {
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
					// What a host was left with in the middle it ends when it is back, or a newer resync of another
					// does: all end here.
					h.now += 200_000_000
					end := h.event("did:plc:"+fmt.Sprintf("%024d", 99), db.OpAccount)
					m.Apply(end)
					sent = append(sent, end)
					for _, host := range pick(h.r, []string{"a", "b", "c"}, []string{"c", "b", "a"},
						[]string{"b", "a", "c"}) {
						catchUp(host, len(sent))
					}
				}
				if step%4 == 3 {
					untilNoJobs(t, s)
					if err := m.Compare(t.Context(), s, sampled(3)); err != nil {
						t.Fatalf("step %d, %d events, on host %s: %v", step, len(sent), host, err)
					}
				}
			}
		})
	}
}

// TestHostsLose follows three hosts in turn, of which each has lost events that another has. Once all were followed,
// the index is what a host would have come to that has lost none.
func TestHostsLose(t *testing.T) {
	t.Parallel()
	for seed := range seeds(10) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(2000 + seed)
			h.tids = true
			cfg := db.Config{Dir: t.TempDir(), JobRecords: 2, JobRest: -1}
			if seed%3 == 0 {
				cfg.SealBytes, cfg.CacheBytes = 4<<10, 1<<16
			}
			// The log doesn't know of events that changed nothing. So with restarts, one host has all events of a
			// record.
			restarts := seed%2 == 0
			var m dbtest.Model
			var sent []apply.Event
			lost := map[string]map[uint64]bool{"a": {}, "b": {}, "c": {}}
			synced := map[string]int64{} // the time of each account's last sync
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			lose := func(e apply.Event) {
				// What a resync brings is whole: a host that has lost some of it resyncs again.
				if e.Op == db.OpSync {
					synced[e.DID] = e.TimeUS
				}
				if e.Rkey == "" || e.TimeUS-synced[e.DID] < 130_000_000 {
					return
				}
				losers := h.r.Perm(3)[:h.r.IntN(3)]
				if restarts {
					losers = []int{int(crc32.ChecksumIEEE([]byte(e.DID+e.Collection+e.Rkey)) % 3)}
				}
				for _, i := range losers {
					lost[string("abc"[i])][e.Seq] = h.r.IntN(3) == 0
				}
			}
			at := map[string]int{}
			late := 0
			for step := range 120 / fraction(2) {
				for range h.r.IntN(30) {
					for _, e := range h.next() {
						lose(e)
						m.Apply(e)
						sent = append(sent, e)
					}
				}
				catchUp := func(host string, last int) {
					for from := at[host]; from < last; {
						to := from + 1 + h.r.IntN(last-from)
						var events []apply.Event
						for _, e := range sent[from:to] {
							if !lost[host][e.Seq] {
								events = append(events, e)
							}
						}
						a, err := s.Apply(db.Batch{Host: host, Events: events})
						if err != nil {
							t.Fatal(err)
						}
						from, at[host], late = to, to, late+a.OutOfOrder
						if restarts && h.r.IntN(12) == 0 {
							if err := s.Close(); err != nil {
								t.Fatal(err)
							}
							s = openWith(t, cfg)
						}
					}
				}
				host := pick(h.r, "a", "b", "c")
				catchUp(host, min(len(sent), at[host]+1+h.r.IntN(40)))
				if step%4 < 3 {
					continue
				}
				h.now += 200_000_000 // no resync is open any more
				end := h.event("did:plc:"+fmt.Sprintf("%024d", 99), db.OpAccount)
				m.Apply(end)
				sent = append(sent, end)
				for _, i := range h.r.Perm(3) {
					catchUp(string("abc"[i]), len(sent))
				}
				untilNoJobs(t, s)
				if err := m.Compare(t.Context(), s, sampled(3)); err != nil {
					t.Fatalf("step %d, %d events: %v", step, len(sent), err)
				}
			}
			if late == 0 {
				t.Error("no event came late")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if r, err := check.Run(t.Context(), cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
				t.Errorf("checked: %v, %+v", err, r)
			}
		})
	}
}

// TestSyncComesAgain: a sync whose resync is complete comes again in a rewind that is cut before its rows are all
// there, and then nothing more is heard of the account: its records stay.
func TestSyncComesAgain(t *testing.T) {
	t.Parallel()
	cfg := db.Config{Dir: t.TempDir()}
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	const us = 1_770_000_000_000_000
	h, subject, source := newHistory(0), "https://example.com/", db.Source{Collection: "app.bsky.feed.like",
		Path: "subject.uri"}
	links := []db.Link{{Path: source.Path, Target: subject}}
	event := func(seq uint64, op db.Op, did, rkey string, second int64, rev int64) apply.Event {
		e := apply.Event{Seq: seq, TimeUS: us + second*1_000_000, Op: op, DID: did, Rev: h.tid(us + rev)}
		if op != db.OpSync {
			e.Collection, e.Rkey, e.Links = source.Collection, rkey, links
		}
		return e
	}
	commit := func(events ...apply.Event) {
		t.Helper()
		if _, err := s.Apply(db.Batch{Host: "a", Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	resync := []apply.Event{event(10, db.OpSync, alice, "", 10, 10), event(11, db.OpCreate, alice, "a", 10, 10),
		event(12, db.OpCreate, alice, "b", 10, 10)}
	commit(event(1, db.OpCreate, alice, "a", 1, 1), event(2, db.OpCreate, alice, "b", 2, 2),
		event(3, db.OpCreate, alice, "gone", 3, 3))
	commit(resync...)
	commit(event(20, db.OpCreate, bob, "c", 200, 20)) // the resync ends, for its account is silent
	count := func(want int64) {
		t.Helper()
		if n, err := s.CountLinks(t.Context(), subject, source); err != nil || n != want {
			t.Errorf("%d links, want %d; %v", n, want, err)
		}
	}
	count(3)
	commit(resync[:2]...)
	commit(event(21, db.OpCreate, bob, "d", 400, 21), event(22, db.OpCreate, bob, "e", 800, 22))
	count(5)
}

// TestLateByRecord: an event that one host has lost is late by the newest event of its record, also where that has
// changed nothing, and by the account's where it is older than the window.
func TestLateByRecord(t *testing.T) {
	t.Parallel()
	const create, del = db.OpCreate, db.OpDelete
	none := record(3, 7, 7, db.OpUpdate, "b")
	none.Links = nil
	// more than the window holds: it begins 1,099 seconds after t0, and judges what is five minutes younger
	var many []apply.Event
	for i := range int64(200) {
		many = append(many, byOther(record(uint64(10+i), 1000+i, 1000+i, create, fmt.Sprint(i))))
	}
	many = append(many, record(900, 1600, 1600, create, "c"))
	for _, tc := range []struct {
		name  string
		a, b  []apply.Event
		after int64
	}{
		{"one that is deleted without having been seen",
			[]apply.Event{record(1, 0, 0, create, "a"), record(3, 7, 7, del, "b")}, []apply.Event{record(12, 5, 5, create,
				"b")}, 1},
		{"one that was updated to no links", []apply.Event{record(1, 0, 0, create, "a"), none},
			[]apply.Event{record(12, 5, 5, create, "b")}, 1},
		{"one of an account that is known for that alone",
			[]apply.Event{byOther(record(1, 0, 0, create, "a")),
				record(3, 7, 7, del, "b")}, []apply.Event{record(12, 5, 5, create, "b")}, 1},
		{"one that the window reaches back to", many, []apply.Event{record(12, 1450, 1450, create, "b")}, 202},
		{"one that is older than the window", many, []apply.Event{record(12, 1380, 1380, create, "b")}, 201},
		{"one that is older by its account's clock alone", many, []apply.Event{record(12, 1450, 1380, create, "b")}, 201},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := openWith(t, db.Config{Dir: t.TempDir(), DedupEvents: 100})
			defer s.Close()
			for _, b := range []db.Batch{{Host: "a", Events: tc.a}, {Host: "b", Events: tc.b}} {
				if _, err := s.Apply(b); err != nil {
					t.Fatal(err)
				}
			}
			if n := must(s.CountLinks(t.Context(), page, likes)); n != tc.after {
				t.Errorf("%d links, want %d", n, tc.after)
			}
		})
	}
}
