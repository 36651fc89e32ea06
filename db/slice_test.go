package db_test

import (
	"fmt"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
)

// TestPurge removes half of the links of a random history, where each record has a few and many accounts are in a
// resync, and goes on with the history. The index is the model then, with all bodies, before a restart and after it.
func TestPurge(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20 / fraction(2)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			m := &dbtest.Model{}
			b := newBodyStore(t, db.Config{Bodies: db.BodiesKeep})
			apply := func(steps int, keep func(db.Link) bool) {
				for range steps {
					events := h.next()
					for i := range events {
						var links []db.Link
						for _, l := range events[i].Links {
							if keep(l) {
								links = append(links, l)
							}
						}
						events[i].Links = links
						m.Apply(events[i])
					}
					b.apply(events...)
				}
			}
			same := func() {
				t.Helper()
				m.Settle()
				if err := m.Compare(t.Context(), b.Store, dbtest.Depth{Page: 50, Many: true}); err != nil {
					t.Fatal(err)
				}
				missing := func(db.Record) bool { return false }
				if err := m.CompareBodies(t.Context(), b.Store, missing); err != nil {
					t.Fatal(err)
				}
			}
			narrow := func(l db.Link) bool { return l.Path == "subject" || l.Target == "https://example.com/" }
			apply(150, func(db.Link) bool { return true })
			keep := func(_ string, source db.Source, target string) bool {
				return narrow(db.Link{Path: source.Path, Target: target})
			}
			n, err := b.Purge(t.Context(), keep)
			if err != nil || n == 0 {
				t.Fatalf("%d links removed, %v", n, err)
			}
			m.Purge(keep)
			if seed%2 == 0 {
				b.reopen(db.BodiesKeep)
			}
			apply(30, narrow)
			h.now += 120_000_000 // open resyncs end
			apply(10, narrow)
			untilNoJobs(t, b.Store)
			same()
			b.reopen(db.BodiesKeep)
			same()
		})
	}
}
