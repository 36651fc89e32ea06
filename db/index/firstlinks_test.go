package index

import (
	"math/rand/v2"
	"slices"
	"testing"

	"weft.dev/weft/db/codec"
)

// TestFirstLinks: pages of accounts by their first link come to all accounts of the list as of the beginning of the
// walk, each once and in order, and only a page of them is held.
func TestFirstLinks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                            string
		accounts, links, changed, limit int
	}{
		{"one page", 10, 30, 0, 100},
		{"many pages", 500, 1000, 0, 7},
		{"many pages with changes", 300, 1000, 200, 7},
		{"all has changed", 50, 200, 200, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			type placed struct {
				actor uint64
				at    []byte
			}
			var links []placed // those that the list has now
			changes := map[string]byte{}
			began := map[uint64][]byte{} // the first link of each account as of the beginning
			now := map[uint64]bool{}
			for i := range c.links {
				actor, rank := uint64(1+r.IntN(c.accounts)), uint64(1_700_000_000_000_000+i)
				p := codec.ListPosition{Rank: rank, AccountID: actor,
					RkeySuffix: codec.AppendRkeySuffix(nil, rank, codec.AppendRkey(nil, "k"))}
				at := p.Append(nil)
				gone, came := false, false
				if i < c.changed {
					switch r.IntN(3) {
					case 0:
						gone = true
						changes[string(at)] = wentSince
					case 1:
						came = true
						changes[string(at)] = cameSince
					}
				}
				if !gone {
					links = append(links, placed{actor, at})
					now[actor] = true
				}
				if !came && slices.Compare(at, began[actor]) > 0 {
					began[actor] = at
				}
			}
			slices.SortFunc(links, func(a, b placed) int { return slices.Compare(b.at, a.at) }) // the oldest first
			var want []first
			for actor, at := range began {
				if now[actor] {
					want = append(want, first{actor, at})
				}
			}
			slices.SortFunc(want, func(a, b first) int { return slices.Compare(a.at, b.at) })

			var got []first
			for after, more := []byte(nil), true; more; {
				f, err := newFirstLinks(changes, after, c.limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range links {
					if f.add(l.actor, l.at); len(f.newest) > 2*(c.limit+1) {
						t.Fatalf("%d accounts are held for a page of %d", len(f.newest), c.limit)
					}
				}
				if f.total() != int64(len(now)) {
					t.Fatalf("%d accounts, want %d", f.total(), len(now))
				}
				page := f.page()
				if more = len(page) > c.limit; more {
					page = page[:c.limit]
					after = page[c.limit-1].at
				}
				got = append(got, page...)
			}
			same := func(a, b first) bool { return a.actor == b.actor && slices.Equal(a.at, b.at) }
			if !slices.EqualFunc(got, want, same) || len(want) == 0 {
				t.Errorf("%d accounts in pages, want %d", len(got), len(want))
			}
		})
	}
}
