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
