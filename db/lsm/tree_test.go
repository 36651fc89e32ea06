package lsm

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// links is a keyspace like that of links by target: "prefix/name" → '+' or '-'.
var links = Keyspace{
	Prefix:      func(key []byte) int { return bytes.IndexByte(key, '/') + 1 },
	Delta:       func(value []byte) int { return map[byte]int{'+': 1, '-': -1}[value[0]] },
	Annihilates: func(older, newer []byte) bool { return older[0] != newer[0] },
	Tombstone:   func(value []byte) bool { return value[0] == '-' },
}

// names is a keyspace whose entries replace each other.
var names = Keyspace{
	Prefix:    func(key []byte) int { return len(key) },
	Tombstone: func(value []byte) bool { return len(value) == 0 },
}

func build(keyspace *Keyspace, entries map[string]string) *MemRun {
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b := NewBuilder(keyspace, 0, 0)
	for _, key := range keys {
		b.Add([]byte(key), []byte(entries[key]))
	}
	return b.Finish()
}

func mustPush(tb testing.TB, t Tree, r *MemRun) Tree {
	tb.Helper()
	t, err := t.Push(r)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func collect(it *MergingIterator) (out []string) {
	for it.Next() {
		out = append(out, string(it.Key())+"="+string(it.Value()))
	}
	if err := it.Err(); err != nil {
		out = append(out, err.Error())
	}
	return out
}

// TestTreeEqualsMap pushes random runs and compares every answer with a map.
func TestTreeEqualsMap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		keyspace *Keyspace
	}{{"additions and removals that annihilate each other", &links}, {"values that replace each other", &names}} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s, seed %d", tc.name, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 2))
				s := Tree{Keyspace: tc.keyspace}
				want := map[string]string{}
				for step := range 200 {
					batch := map[string]string{}
					for range r.IntN(30) {
						key := fmt.Sprintf("g%d/%02d", r.IntN(6), r.IntN(40))
						if _, ok := batch[key]; ok {
							continue
						}
						_, has := want[key]
						switch {
						case tc.keyspace == &links && has:
							batch[key] = "-"
							delete(want, key)
						case tc.keyspace == &links:
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
					s = mustPush(t, s, build(tc.keyspace, batch))
					if step%20 == 19 {
						compare(t, s, want, r)
					}
				}
				if len(s.Runs) > 20 {
					t.Errorf("%d runs after 200 pushes: compaction does not keep up", len(s.Runs))
				}
			})
		}
	}
}

func compare(t *testing.T, s Tree, want map[string]string, r *rand.Rand) {
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
		end := string(PrefixEnd([]byte(prefix)))
		in := between(prefix, end)
		got := collect(s.ScanPrefix([]byte(prefix), []byte(prefix), []byte(end), false))
		if s.Keyspace == &links && !slices.Equal(got, in) {
			t.Fatalf("scan of %s: %q, want %q", prefix, got, in)
		}
		if s.Keyspace == &links {
			if got, err := s.Sum([]byte(prefix)); got != int64(len(in)) || err != nil {
				t.Fatalf("the sum of %s is %d, %v, want %d", prefix, got, err, len(in))
			}
		}
		for n := range 41 {
			key := fmt.Sprintf("%s%02d", prefix, n)
			for hint := range Likely | Once + 1 {
				value, ok, err := s.Find([]byte(key), hint)
				if err != nil {
					t.Fatal(err)
				}
				if ok = ok && !s.Keyspace.Tombstone(value); ok != (want[key] != "") || ok && string(value) != want[key] {
					t.Fatalf("%s with hint %d is %q (%t), want %q", key, hint, value, ok, want[key])
				}
			}
		}
	}
	if s.Keyspace == &links && s.Total() != int64(len(want)) {
		t.Fatalf("the total is %d, want %d", s.Total(), len(want))
	}
}

// TestCompactionLeavesNothing checks that a tree whose additions were all removed again becomes empty.
func TestCompactionLeavesNothing(t *testing.T) {
	t.Parallel()
	s := Tree{Keyspace: &links}
	for i := range 64 {
		op := "+"
		if i%2 == 1 {
			op = "-"
		}
		s = mustPush(t, s, build(&links, map[string]string{"g/a": op, "g/b": op}))
	}
	if s.Len() > 8 || s.Total() != 0 {
		t.Errorf("%d entries with a total of %d are left", s.Len(), s.Total())
	}
}

// TestCompactionKeep: an entry that is removed whole leaves a tombstone, because its key in older runs would come back.
// The bottommost compaction has no older runs, and leaves nothing.
func TestCompactionKeep(t *testing.T) {
	t.Parallel()
	kept := func(key, value []byte) ([]byte, bool, error) {
		switch key[0] {
		case 'a':
			return nil, false, nil
		case 'b':
			return value[:1], true, nil
		}
		return value, true, nil
	}
	for _, tc := range []struct {
		bottommost bool
		want       string
	}{{false, "[a= b=x c=zz]"}, {true, "[b=x c=zz]"}} {
		c, err := NewCompactionIterator(&names, []Run{build(&names, map[string]string{"a": "1", "c": "zz"}),
			build(&names, map[string]string{"a": "2", "b": "xy"})}, tc.bottommost)
		if err != nil {
			t.Fatal(err)
		}
		c.Keep(kept)
		var got []string
		for {
			more, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
			got = append(got, string(c.Key())+"="+string(c.Value()))
		}
		if fmt.Sprint(got) != tc.want || c.Gone() != 1 {
			t.Errorf("bottommost %t: %v, %d gone; want %s", tc.bottommost, got, c.Gone(), tc.want)
		}
	}
}

func TestPrefixEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ prefix, want string }{
		{"a", "b"}, {"ab", "ac"}, {"a\xff", "b"}, {"a\xff\xff", "b"}, {"\xff", ""}, {"", ""},
	} {
		if got := string(PrefixEnd([]byte(tc.prefix))); got != tc.want {
			t.Errorf("the prefix %q ends at %q, want %q", tc.prefix, got, tc.want)
		}
	}
}

// countedRun counts how often a run is opened.
type countedRun struct {
	Run
	opened *int
}

func (r countedRun) Iterate(from, to []byte, reverse bool) (Iterator, error) {
	*r.opened++
	return r.Run.Iterate(from, to, reverse)
}

// TestScanBounded: a scan with bounds of some runs has the entries of one without, in both directions and in any range.
// It opens a run when it comes to the run's bound.
func TestScanBounded(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	for round := range 300 {
		tree := Tree{Keyspace: &links}
		var lowest, highest []string
		var opened [6]int
		for i := range opened {
			entries := map[string]string{}
			begin := r.IntN(60)
			for range 1 + r.IntN(12) {
				entries[fmt.Sprintf("list/%03d", begin+r.IntN(30))] = string("+-"[r.IntN(2)])
			}
			keys := slices.Sorted(maps.Keys(entries))
			lowest, highest = append(lowest, keys[0]), append(highest, keys[len(keys)-1])
			tree.Runs = append(tree.Runs, countedRun{build(&links, entries), &opened[i]})
		}
		reverse := round%2 == 0
		unknown := r.IntN(len(opened))
		bound := func(run int) []byte {
			switch {
			case run == unknown:
				return nil
			case reverse:
				return []byte(highest[run] + "+")
			}
			return []byte(lowest[run][:7])
		}
		from, to := fmt.Appendf(nil, "list/%03d", r.IntN(50)), fmt.Appendf(nil, "list/%03d", 40+r.IntN(60))
		want := collect(tree.ScanPrefix([]byte("list/"), from, to, reverse))
		if got := collect(tree.ScanBounded([]byte("list/"), from, to, reverse, bound)); !slices.Equal(got, want) {
			t.Fatalf("round %d, reverse %t: %q, want %q", round, reverse, got, want)
		}
		clear(opened[:])
		for it := tree.ScanBounded([]byte("list/"), from, to, reverse, bound); it.Next(); {
			for run := range opened {
				isDue := run == unknown || !reverse && string(bound(run)) <= string(it.Key()) ||
					reverse && string(bound(run)) >= string(it.Key())
				if isDue != (opened[run] == 1) {
					t.Fatalf("round %d: at %s, run %d with the bound %s was opened %d times", round, it.Key(), run,
						bound(run), opened[run])
				}
			}
		}
	}
}

// TestFilter checks that a filter has no false negatives and few false positives.
func TestFilter(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 10, 1000, 100_000} {
		added := make([]uint64, n)
		for i := range added {
			added[i] = r.Uint64()
		}
		f := newBloomFilter(added)
		for _, h := range added {
			if !f.mayContain(h) {
				t.Fatalf("a filter of %d has a false negative", n)
			}
		}
		wrong := 0
		for range 100_000 {
			if f.mayContain(r.Uint64()) {
				wrong++
			}
		}
		// 10 bits per entry give 0.9 % in theory, and somewhat more where blocks fill unevenly.
		if wrong > 2000 {
			t.Errorf("a filter of %d has %d false positives of 100,000", n, wrong)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	s := Tree{Keyspace: &names}
	r := rand.New(rand.NewPCG(5, 6))
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
			_, _, _ = s.Find(keys[i*7919%len(keys)], 0)
		}
	})
	b.Run("absent", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			key := keys[i*7919%len(keys)]
			_, _, _ = s.Find(key[:len(key)-1], 0)
		}
	})
}

// BenchmarkCompact measures a compaction of runs whose keys alternate at random, in nanoseconds for each entry.
func BenchmarkCompact(b *testing.B) {
	for _, runs := range []int{4, 8} {
		b.Run(fmt.Sprintf("%d runs", runs), func(b *testing.B) {
			const entries = 100_000
			r := rand.New(rand.NewPCG(1, 2))
			keys := make([][]string, runs)
			for range entries {
				i := r.IntN(runs)
				keys[i] = append(keys[i], fmt.Sprintf("%06d/%016d", r.IntN(entries), r.IntN(1_000_000)))
			}
			inputs := make([]Run, runs)
			for i := range keys {
				slices.Sort(keys[i])
				builder := NewBuilder(&names, len(keys[i]), 0)
				for _, key := range slices.Compact(keys[i]) {
					builder.Add([]byte(key), []byte{1})
				}
				inputs[i] = builder.Finish()
			}
			b.ReportAllocs()
			for b.Loop() {
				c, err := NewCompactionIterator(&names, inputs, false)
				if err != nil {
					b.Fatal(err)
				}
				more := true
				for more {
					more, err = c.Next()
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*entries), "ns/entry")
		})
	}
}

// BenchmarkPush pushes a million entries into a tree. It reports how many times compactions copy an entry, and the mean
// number of runs.
func BenchmarkPush(b *testing.B) {
	for _, batch := range []int{80, 300, 4096} {
		b.Run(fmt.Sprintf("batches of %d", batch), func(b *testing.B) {
			copies, entries, runs, pushes := 0, 0, 0, 0
			for b.Loop() {
				t := Tree{Keyspace: &names}
				for n := 0; n < 1_000_000; n += batch {
					builder := NewBuilder(&names, batch, 9*batch)
					for i := range batch {
						builder.Add(fmt.Appendf(nil, "%09d", n+i), []byte{1})
					}
					last := NewRunID()
					t = mustPush(b, t, builder.Finish())
					for _, r := range t.Runs {
						if r.ID() > last {
							copies += r.Len()
						}
					}
					entries += batch
					runs += len(t.Runs)
					pushes++
				}
			}
			b.ReportMetric(float64(copies)/float64(entries), "copies/entry")
			b.ReportMetric(float64(runs)/float64(pushes), "runs")
		})
	}
}
