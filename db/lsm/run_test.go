package lsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// links is an order like that of links by target: "group/name" → '+' or '-'.
var links = Order{
	Group:   func(key []byte) int { return bytes.IndexByte(key, '/') + 1 },
	Weight:  func(value []byte) int { return map[byte]int{'+': 1, '-': -1}[value[0]] },
	Cancels: func(older, newer []byte) bool { return older[0] != newer[0] },
	Dead:    func(value []byte) bool { return value[0] == '-' },
}

// names is an order whose entries replace each other.
var names = Order{Group: func(key []byte) int { return len(key) }, Dead: func(value []byte) bool { return len(value) == 0 }}

func build(order *Order, entries map[string]string) *Run {
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b := NewBuilder(order, 0, 0)
	for _, key := range keys {
		b.Add([]byte(key), []byte(entries[key]))
	}
	return b.Finish()
}

func mustPush(tb testing.TB, s Stack, r *Run) Stack {
	tb.Helper()
	s, err := s.Push(r)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func collect(sc *Scan) (out []string) {
	for sc.Next() {
		out = append(out, string(sc.Key())+"="+string(sc.Value()))
	}
	if err := sc.Err(); err != nil {
		out = append(out, err.Error())
	}
	return out
}

// TestStackEqualsMap pushes random runs and holds every answer against a map.
func TestStackEqualsMap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		order *Order
	}{{"additions and removals that cancel", &links}, {"values that replace each other", &names}} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s, seed %d", tc.name, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 2))
				s, want := Stack{Order: tc.order}, map[string]string{}
				for step := range 200 {
					batch := map[string]string{}
					for range r.IntN(30) {
						key := fmt.Sprintf("g%d/%02d", r.IntN(6), r.IntN(40))
						if _, ok := batch[key]; ok {
							continue
						}
						_, has := want[key]
						switch {
						case tc.order == &links && has:
							batch[key] = "-"
							delete(want, key)
						case tc.order == &links:
							batch[key] = "+"
							want[key] = "+"
						case r.IntN(3) == 0:
							batch[key] = ""
							delete(want, key)
						default:
							batch[key] = fmt.Sprint(r.IntN(100))
							want[key] = batch[key]
						}
					}
					s = mustPush(t, s, build(tc.order, batch))
					if step%20 == 19 {
						compare(t, s, want, r)
					}
				}
				if len(s.Runs) > 20 {
					t.Errorf("%d runs after 200 pushes: merging does not keep up", len(s.Runs))
				}
			})
		}
	}
}

func compare(t *testing.T, s Stack, want map[string]string, r *rand.Rand) {
	t.Helper()
	keys := make([]string, 0, len(want))
	for key := range want {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	between := func(from, to string) (out []string) {
		for _, key := range keys {
			if key >= from && (to == "" || key < to) {
				out = append(out, key+"="+want[key])
			}
		}
		return out
	}
	for range 20 {
		from, to := fmt.Sprintf("g%d/%02d", r.IntN(6), r.IntN(40)), fmt.Sprintf("g%d/%02d", r.IntN(6), r.IntN(40))
		if got := collect(s.Scan([]byte(from), []byte(to), false)); !slices.Equal(got, between(from, to)) {
			t.Fatalf("scan from %s to %s: %q, want %q", from, to, got, between(from, to))
		}
		backwards := between(from, "")
		slices.Reverse(backwards)
		if got := collect(s.Scan([]byte(from), nil, true)); !slices.Equal(got, backwards) {
			t.Fatalf("scan back to %s: %q, want %q", from, got, backwards)
		}
	}
	for g := range 7 {
		prefix := fmt.Sprintf("g%d/", g)
		in := between(prefix, string(After([]byte(prefix))))
		if got := collect(s.ScanPrefix([]byte(prefix), []byte(prefix), After([]byte(prefix)), false)); s.Order == &links && !slices.Equal(got, in) {
			t.Fatalf("scan of %s: %q, want %q", prefix, got, in)
		}
		if s.Order == &links {
			if got, err := s.Weigh([]byte(prefix)); got != int64(len(in)) || err != nil {
				t.Fatalf("%s weighs %d, %v, want %d", prefix, got, err, len(in))
			}
		}
		for n := range 41 {
			key := fmt.Sprintf("%s%02d", prefix, n)
			value, ok, err := s.Find([]byte(key))
			if err != nil {
				t.Fatal(err)
			}
			if ok = ok && !s.Order.Dead(value); ok != (want[key] != "") || ok && string(value) != want[key] {
				t.Fatalf("%s is %q (%t), want %q", key, value, ok, want[key])
			}
		}
	}
	if s.Order == &links && s.Total() != int64(len(want)) {
		t.Fatalf("the stack weighs %d, want %d", s.Total(), len(want))
	}
}

// TestMergeLeavesNothing: a stack whose additions were all removed again comes down to nothing.
func TestMergeLeavesNothing(t *testing.T) {
	t.Parallel()
	s := Stack{Order: &links}
	for i := range 64 {
		op := "+"
		if i%2 == 1 {
			op = "-"
		}
		s = mustPush(t, s, build(&links, map[string]string{"g/a": op, "g/b": op}))
	}
	if s.Len() > 8 || s.Total() != 0 {
		t.Errorf("%d entries that weigh %d are left", s.Len(), s.Total())
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ prefix, want string }{
		{"a", "b"}, {"ab", "ac"}, {"a\xff", "b"}, {"a\xff\xff", "b"}, {"\xff", ""}, {"", ""},
	} {
		if got := string(After([]byte(tc.prefix))); got != tc.want {
			t.Errorf("after %q comes %q, want %q", tc.prefix, got, tc.want)
		}
	}
}

// TestFilter: a filter never denies what was added, and denies nearly all else.
func TestFilter(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 10, 1000, 100_000} {
		added := make([]uint64, n)
		for i := range added {
			added[i] = r.Uint64()
		}
		f := NewFilter(added)
		for _, h := range added {
			if !f.May(h) {
				t.Fatalf("a filter of %d denies what it holds", n)
			}
		}
		wrong := 0
		for range 100_000 {
			if f.May(r.Uint64()) {
				wrong++
			}
		}
		// 10 bits per entry give 0.9 % in theory, and somewhat more where blocks fill unevenly.
		if wrong > 2000 {
			t.Errorf("a filter of %d lets %d of 100,000 through", n, wrong)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	s, r := Stack{Order: &names}, rand.New(rand.NewPCG(5, 6))
	var keys [][]byte
	for range 250 {
		batch := map[string]string{}
		for range 1000 {
			key := fmt.Sprintf("did:plc:%024x", r.Uint64())
			batch[key] = "12345"
			keys = append(keys, []byte(key))
		}
		s = mustPush(b, s, build(&names, batch))
	}
	b.Run("present", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			_, _, _ = s.Find(keys[i*7919%len(keys)])
		}
	})
	b.Run("absent", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			key := keys[i*7919%len(keys)]
			_, _, _ = s.Find(key[:len(key)-1])
		}
	})
}
