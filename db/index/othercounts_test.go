package index

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOtherCounts: pages of other targets within bounds come to the counts of all of them, whatever is dropped on the
// way, and memory is bounded by the room.
func TestOtherCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                   string
		targets, actors, links int
		limit, room            int
	}{
		{"all fit", 20, 20, 300, 100, 1 << 20},
		{"more targets than the limit", 200, 20, 3000, 10, 1 << 20},
		{"more pairs than there is room for", 200, 50, 20_000, 100, 20_000},
		{"a target of more accounts than there is room for", 2, 2000, 20_000, 100, 4_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			type link struct {
				other string
				actor uint64
			}
			var links []link
			want := map[string]OtherCount{}
			accounts := map[link]bool{}
			for range c.links {
				l := link{fmt.Sprintf("target %04d", r.IntN(c.targets)), uint64(r.IntN(c.actors))}
				links = append(links, l)
				n := want[l.other]
				n.Links++
				if !accounts[l] {
					n.DIDs++
				}
				accounts[l] = true
				want[l.other] = n
			}
			got := map[string]OtherCount{}
			var order []string
			var after []byte
			for pages := 0; ; pages++ {
				counts := otherCounts{after: after, limit: c.limit, room: c.room}
				most := 0
				for _, l := range links {
					counts.add([]byte(l.other), l.actor)
					most = max(most, counts.size)
				}
				if whole := c.actors * (otherPairBytes + 20); most > max(c.room, 2*whole) {
					t.Fatalf("%d bytes are kept, with room for %d", most, c.room)
				}
				others, items := counts.page()
				if len(items) > c.limit || len(items) == 0 || len(items) != len(others) {
					t.Fatalf("a page of %d items of %d targets", len(items), len(others))
				}
				for i, other := range others {
					order = append(order, string(other))
					got[string(other)] = items[i]
				}
				if counts.upTo == nil {
					break
				}
				if string(counts.upTo) != order[len(order)-1] || pages > c.targets {
					t.Fatalf("page %d ends at %s, and the next begins behind %s", pages, order[len(order)-1],
						counts.upTo)
				}
				after = counts.upTo
			}
			if !maps.Equal(got, want) || !slices.IsSorted(order) || len(order) != len(want) {
				t.Errorf("%d targets in %d pages' items, want %d", len(got), len(order), len(want))
			}
		})
	}
}
