package distinct

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSetEqualsMap compares sets in parts, encoded and merged in any order, with two maps.
func TestSetEqualsMap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		members uint32
		deltas  int
	}{{"dense", 3000, 1}, {"sparse", 1 << 31, 1}, {"few, often", 20, 5}, {"one", 1, 1000}} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%s, seed %d", tc.name, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 1))
				added, removed := map[uint32]int{}, map[uint32]int{}
				parts := make([]Set, 1+r.IntN(6))
				for range 20_000 {
					m, w := r.Uint32N(tc.members), 1+r.IntN(tc.deltas)
					p := &parts[r.IntN(len(parts))]
					if r.IntN(3) == 0 && added[m]-removed[m] >= w {
						removed[m] += w
						w = -w
					} else {
						added[m] += w
					}
					p.Add(m, w)
				}
				want := uint64(0)
				for m, n := range added {
					if n != removed[m] {
						want++
					}
				}
				var whole Set
				for i := range parts {
					data, err := parts[i].Append(nil)
					if err != nil {
						t.Fatal(err)
					}
					part, err := Parse(data)
					if err != nil {
						t.Fatal(err)
					}
					if !part.Equal(&parts[i]) || !parts[i].Equal(part) {
						t.Fatal("a set differs from its decoded encoding")
					}
					whole.Merge(part)
					if !part.Equal(&parts[i]) {
						t.Fatal("a merge changed the set that it reads")
					}
				}
				if got := whole.Count(); got != want {
					t.Errorf("%d members, want %d", got, want)
				}
				sets := make([]*Set, len(parts))
				for i := range parts {
					sets[i] = &parts[i]
				}
				if got := Count(sets...); got != want {
					t.Errorf("%d members over all parts, want %d", got, want)
				}
				var once Set
				for m, n := range added {
					once.Add(m, n)
				}
				for m, n := range removed {
					once.Add(m, -n)
				}
				if !once.Equal(&whole) {
					t.Error("the parts don't add up to the whole")
				}
			})
		}
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	var s, o Set
	s.Add(7, 1)
	o.Add(7, -1)
	s.Merge(&o)
	s.Merge(&Set{})
	if s.Count() != 0 {
		t.Errorf("%d members are left", s.Count())
	}
	data, err := new(Set).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := Parse(data); err != nil || p.Count() != 0 || !p.Equal(&Set{}) || p.Equal(&s) {
		t.Errorf("an empty set reads back as %v, %v", p, err)
	}
}

// FuzzParse checks that any bytes give an error or a set that is safe to use.
func FuzzParse(f *testing.F) {
	for _, n := range []uint32{0, 1, 10, 10_000} {
		var s Set
		for i := range n {
			s.Add(i*3, 1)
			s.Add(i*17, 3)
			s.Add(i/2, -1)
		}
		data, err := s.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(bytes.Clone(data))
		if err != nil {
			return
		}
		var o Set
		o.Add(1, 3)
		o.Merge(s)
		o.Merge(s)
		_, _, _ = o.Count(), Count(s, &o, s), s.Memory()
		again, err := s.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := Parse(again); err != nil || !p.Equal(s) {
			t.Fatalf("an encoded set can't be parsed again: %v", err)
		}
	})
}

// BenchmarkCount counts a list in four parts, with random members of 20 million.
func BenchmarkCount(b *testing.B) {
	for _, tc := range []struct{ links, removals int }{
		{100_000, 0}, {100_000, 5000}, {10_000_000, 0}, {10_000_000, 500_000},
	} {
		parts := make([]Set, 4)
		sets := make([]*Set, 4)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range tc.links {
			m := r.Uint32N(20_000_000)
			parts[i&3].Add(m, 1)
			if i < tc.removals {
				parts[(i+1)&3].Add(m, -1)
			}
		}
		for i := range parts {
			sets[i] = &parts[i]
		}
		name := fmt.Sprintf("%d links, %d removed", tc.links, tc.removals)
		b.Run(name+"/count", func(b *testing.B) {
			for b.Loop() {
				Count(sets...)
			}
		})
		b.Run(name+"/merge and count", func(b *testing.B) {
			for b.Loop() {
				var whole Set
				for _, s := range sets {
					whole.Merge(s)
				}
				whole.Count()
			}
		})
	}
}

func BenchmarkAdd(b *testing.B) {
	var s Set
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		s.Add(r.Uint32N(20_000_000), 1)
	}
}
