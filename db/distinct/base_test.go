package distinct

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestBaseEqualsMap compares the count of a base and of further sets with two maps, for each split of parts that are in
// the order of time: whether the base is made at once or part by part. No base changes a set.
func TestBaseEqualsMap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name             string
		members          uint32
		deltas, removals int // a removal in so many
	}{{"dense", 3000, 1, 3}, {"sparse", 1 << 31, 1, 3}, {"few, often", 20, 5, 2}, {"one", 1, 3, 2},
		{"without removals", 3000, 2, 1 << 30}} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s, seed %d", tc.name, seed), func(t *testing.T) {
				t.Parallel()
				const deltas = 6000
				r := rand.New(rand.NewPCG(seed, 2))
				number := map[uint32]int{}
				sets := make([]*Set, 1+r.IntN(6))
				for i := range sets {
					sets[i] = &Set{}
				}
				var made []uint32
				for i := range deltas {
					m, w := r.Uint32N(tc.members), 1+r.IntN(tc.deltas)
					if r.IntN(tc.removals) == 0 && len(made) > 0 {
						m = made[r.IntN(len(made))]
						w = -min(w, number[m])
					}
					number[m] += w
					sets[i*len(sets)/deltas].Add(m, w)
					made = append(made, m)
				}
				want := uint64(0)
				for _, n := range number {
					if n > 0 {
						want++
					}
				}
				var encoded [][]byte
				for _, s := range sets {
					data, err := s.Append(nil)
					if err != nil {
						t.Fatal(err)
					}
					encoded = append(encoded, data)
				}
				grown := NewBase(nil)
				for n := range len(sets) + 1 {
					once := NewBase(nil, sets[:n]...)
					if n > 0 {
						older := grown.n
						next := NewBase(grown, sets[n-1])
						if grown.n != older || grown.members.GetCardinality() != older {
							t.Error("a base changed the one that it is made of")
						}
						grown = next
					}
					for name, b := range map[string]*Base{"a base": once, "a grown base": grown} {
						if got := b.Count(sets[n:]...); got != want {
							t.Errorf("%d members over %s of %d of %d parts and the others, want %d", got, name, n, len(sets), want)
						}
					}
				}
				for i := range sets {
					was, err := Parse(encoded[i])
					if err != nil || !was.Equal(sets[i]) {
						t.Errorf("a base or a count changed a set: %v", err)
					}
				}
			})
		}
	}
}

// BenchmarkBase counts a list of ten million links in twelve parts, with random members of 2.5 million, and a further
// set of a thousand: by adding all parts up, and by a base of them.
func BenchmarkBase(b *testing.B) {
	parts := make([]*Set, 12)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range parts {
		parts[i] = &Set{}
		for range 10_000_000 / len(parts) {
			parts[i].Add(r.Uint32N(2_500_000), 1)
		}
	}
	further := &Set{}
	for i := range 1000 {
		further.Add(r.Uint32N(2_600_000), 1-i%5/4*2)
	}
	all := append(parts[:len(parts):len(parts)], further)
	var base *Base
	b.Run("all parts", func(b *testing.B) {
		for b.Loop() {
			Count(all...)
		}
	})
	b.Run("making the base", func(b *testing.B) {
		for b.Loop() {
			base = NewBase(nil, parts...)
		}
	})
	b.Run("growing it by a part", func(b *testing.B) {
		for b.Loop() {
			NewBase(base, parts[0])
		}
	})
	b.Run("by the base", func(b *testing.B) {
		for b.Loop() {
			base.Count(further)
		}
	})
}
