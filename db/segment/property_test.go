package segment

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Two keyspaces with short keys, like those of the store: links "prefix/member.n" → '+' or '-', with a list per
// prefix, and records "prefix/minute.n" → text, with minutes. Member and minute are numbers.
var (
	linkKind = Kind{
		Keyspace: &lsm.Keyspace{
			Prefix:      func(key []byte) int { return bytes.IndexByte(key, '/') + 1 },
			Delta:       func(value []byte) int { return map[byte]int{'+': 1, '-': -1}[value[0]] },
			Annihilates: func(older, newer []byte) bool { return older[0] != newer[0] },
			Tombstone:   func(value []byte) bool { return value[0] == '-' },
		},
		List: func(key []byte) (int, uint32, bool) {
			n := bytes.IndexByte(key, '/') + 1
			member, err := strconv.Atoi(string(key[n:bytes.IndexByte(key, '.')]))
			return n, uint32(member), err == nil
		},
	}
	recordsKind = Kind{
		Keyspace: &lsm.Keyspace{
			Prefix:    func(key []byte) int { return len(key) },
			Tombstone: func(value []byte) bool { return len(value) == 0 },
		},
		Minute: func(key []byte) (int64, bool) {
			minute, err := strconv.Atoi(string(key[bytes.IndexByte(key, '/')+1 : bytes.IndexByte(key, '.')]))
			return int64(minute), err == nil
		},
	}
	testKinds = map[int]Kind{1: linkKind, 2: recordsKind}
)

func build(keyspace *lsm.Keyspace, entries map[string]string) *lsm.MemRun {
	b := lsm.NewBuilder(keyspace, 0, 0)
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		b.Add([]byte(key), []byte(entries[key]))
	}
	return b.Finish()
}

// history changes two maps and the trees that must equal them.
type history struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	cache *Cache
	files int
	want  [3]map[string]string
	trees [3]lsm.Tree
}

// small gives small runs many blocks, index levels and sets.
var small = Options{blockSize: 64, nodeSize: 96, pageSize: 512, ListOver: 12}

func (h *history) batch(id int) {
	batch := map[string]string{}
	for range h.r.IntN(60) {
		key := fmt.Sprintf("g%d/%02d.%d", h.r.IntN(5), h.r.IntN(30), h.r.IntN(3))
		if id == 2 && h.r.IntN(4) == 0 {
			key = fmt.Sprintf("g%d/none.%d", h.r.IntN(5), h.r.IntN(3))
		}
		if _, ok := batch[key]; ok {
			continue
		}
		_, has := h.want[id][key]
		switch {
		case id == 1 && has:
			batch[key] = "-"
		case id == 1:
			batch[key] = "+"
		case h.r.IntN(3) == 0:
			batch[key] = ""
		default:
			batch[key] = fmt.Sprint(h.r.IntN(100))
		}
		if testKinds[id].Keyspace.Tombstone([]byte(batch[key])) {
			delete(h.want[id], key)
		} else {
			h.want[id][key] = batch[key]
		}
	}
	s, err := h.trees[id].Push(build(testKinds[id].Keyspace, batch))
	if err != nil {
		h.t.Fatal(err)
	}
	h.trees[id] = s
}

// flush compacts the newest runs of both trees, a random number of them, into one segment.
func (h *history) flush() {
	var inputs []Input
	var at [3]int
	for id := 1; id <= 2; id++ {
		runs := h.trees[id].Runs
		at[id] = h.r.IntN(len(runs) + 1)
		m, err := lsm.NewCompactionIterator(testKinds[id].Keyspace, runs[at[id]:], at[id] == 0)
		if err != nil {
			h.t.Fatal(err)
		}
		inputs = append(inputs, Input{id, testKinds[id], m})
	}
	h.files++
	path := filepath.Join(h.dir, fmt.Sprintf("%d.seg", h.files))
	info, err := Write(path, map[string]string{"n": fmt.Sprint(h.files)}, inputs, small)
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := Open(path, testKinds, h.cache)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	})
	if err := s.Verify(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if got, err := FileChecksum(path); err != nil || got != info.Checksum {
		h.t.Fatalf("checksum %s, %v, want %s", got, err, info.Checksum)
	}
	got := s.Info()
	if s.Meta()["n"] != fmt.Sprint(h.files) || !slices.Equal(got.Runs, info.Runs) || got.Bytes != info.Bytes {
		h.t.Fatalf("the file has %v, %+v; Write returned %+v", s.Meta(), got, info)
	}
	for id := 1; id <= 2; id++ {
		h.trees[id].Runs = append(h.trees[id].Runs[:at[id]:at[id]], s.Run(id))
	}
}

// TestTreeEqualsMap compares trees of segments and runs in memory with maps.
func TestTreeEqualsMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			cache := NewCache([]int64{0, 10_000, 1 << 20}[seed%3])
			h := &history{t: t, r: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(), cache: cache}
			for id := 1; id <= 2; id++ {
				h.want[id] = map[string]string{}
				h.trees[id] = lsm.Tree{Keyspace: testKinds[id].Keyspace}
			}
			for step := range 60 {
				h.batch(1)
				h.batch(2)
				if step%6 == 5 {
					h.flush()
				}
				if step%10 == 9 {
					h.compare(1)
					h.compare(2)
				}
			}
		})
	}
}

func collect(sc *lsm.MergingIterator) (out []string) {
	for sc.Next() {
		out = append(out, string(sc.Key())+"="+string(sc.Value()))
	}
	if err := sc.Err(); err != nil {
		out = append(out, err.Error())
	}
	return out
}

func (h *history) compare(id int) {
	t, want, s := h.t, h.want[id], h.trees[id]
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	between := func(from, to string) (out []string) {
		for _, key := range keys {
			if key >= from && (to == "" || key < to) {
				out = append(out, key+"="+want[key])
			}
		}
		return out
	}
	some := func() string { return fmt.Sprintf("g%d/%02d.%d", h.r.IntN(6), h.r.IntN(30), h.r.IntN(3)) }
	if got := collect(s.Scan(nil, nil, false)); !slices.Equal(got, between("", "")) {
		t.Fatalf("the whole is %q, want %q", got, between("", ""))
	}
	for range 20 {
		from, to := some(), some()
		if got := collect(s.Scan([]byte(from), []byte(to), false)); !slices.Equal(got, between(from, to)) {
			t.Fatalf("scan from %s to %s: %q, want %q", from, to, got, between(from, to))
		}
		for _, end := range []string{"", to} {
			backwards := between(from, end)
			slices.Reverse(backwards)
			var to []byte
			if end != "" {
				to = []byte(end)
			}
			if got := collect(s.Scan([]byte(from), to, true)); !slices.Equal(got, backwards) {
				t.Fatalf("scan back from %q to %s: %q, want %q", end, from, got, backwards)
			}
		}
		for _, r := range s.Runs {
			h.compareSums(r, s.Keyspace, []byte(from), []byte(to))
		}
	}
	for g := range 6 {
		for m := range 31 {
			key := fmt.Sprintf("g%d/%02d.%d", g, m, g%3)
			for hint := range lsm.Likely | lsm.Once + 1 {
				value, ok, err := s.Find([]byte(key), hint)
				if err != nil {
					t.Fatal(err)
				}
				if ok = ok && !s.Keyspace.Tombstone(value); ok != (want[key] != "") || ok && string(value) != want[key] {
					t.Fatalf("%s with hint %d is %q (%t), want %q", key, hint, value, ok, want[key])
				}
			}
		}
		if id == 1 {
			h.compareList(fmt.Sprintf("g%d/", g))
		}
	}
	if id == 1 && s.Total() != int64(len(want)) {
		t.Fatalf("the total is %d, want %d", s.Total(), len(want))
	}
}

// compareSums compares the sum of a range with an iteration over it.
func (h *history) compareSums(r lsm.Run, keyspace *lsm.Keyspace, from, to []byte) {
	h.t.Helper()
	want := int64(0)
	w, err := r.Iterate(from, to, false)
	for more := w != nil && err == nil; more; more, err = w.Next() {
		want += int64(keyspace.DeltaOf(w.Value()))
	}
	if got, sumErr := r.Sum(from, to); got != want || err != nil || sumErr != nil {
		h.t.Fatalf("the sum of %s to %s is %d (%v, %v), want %d", from, to, got, err, sumErr, want)
	}
	// Prefixes of many, some and one entry: groups, tens of members, keys.
	for _, n := range []int{3, 4, 100} {
		for _, bounds := range [][2][]byte{{from, to}, {from, nil}, {nil, to}, {nil, nil}} {
			comparePrefixSums(h.t, r, keyspace, bounds[0], bounds[1], n)
		}
	}
}

// comparePrefixSums compares the sums of the prefixes of at most n bytes in a range with an iteration over the range.
// No key of fewer bytes may be the prefix of another.
func comparePrefixSums(t *testing.T, r lsm.Run, keyspace *lsm.Keyspace, from, to []byte, n int) {
	t.Helper()
	var got, want []string // prefix and sum
	last, sum := "", 0
	w, err := r.Iterate(from, to, false)
	for more := w != nil && err == nil; more; more, err = w.Next() {
		prefix := string(w.Key()[:min(n, len(w.Key()))])
		if prefix != last && last != "" {
			want = append(want, fmt.Sprintf("%q %d", last, sum))
			sum = 0
		}
		last = prefix
		sum += keyspace.DeltaOf(w.Value())
	}
	if last != "" {
		want = append(want, fmt.Sprintf("%q %d", last, sum))
	}
	prefixLen := func(key []byte) (int, error) { return min(n, len(key)), nil }
	sumsErr := r.PrefixSums(from, to, prefixLen, func(prefix []byte, sum int64) error {
		got = append(got, fmt.Sprintf("%q %d", prefix, sum))
		return nil
	})
	if err != nil || sumsErr != nil || len(got) != len(want) {
		t.Fatalf("%q to %q has %d prefixes of %d bytes (%v, %v), want %d", from, to, len(got), n, sumsErr, err, len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("the sum of prefix %d of %q to %q is %s, want %s", i, from, to, got[i], want[i])
		}
	}
}

// compareList counts a list's members by sums, sets and iteration.
func (h *history) compareList(prefix string) {
	h.t.Helper()
	members := map[string]bool{}
	links := int64(0)
	for key := range h.want[1] {
		if key[:len(prefix)] == prefix {
			members[key[len(prefix):len(prefix)+2]] = true
			links++
		}
	}
	if got, err := h.trees[1].Sum([]byte(prefix)); got != links || err != nil {
		h.t.Fatalf("the sum of %s is %d, %v, want %d", prefix, got, err, links)
	}
	var set distinct.Set
	for _, r := range h.trees[1].Runs {
		if l, ok := r.(*Run); ok {
			part, ok, err := l.Distinct([]byte(prefix))
			if err != nil {
				h.t.Fatal(err)
			}
			if ok {
				set.Merge(part)
				continue
			}
		}
		w, err := r.Iterate([]byte(prefix), lsm.PrefixEnd([]byte(prefix)), false)
		n := 0
		for more := w != nil && err == nil; more; more, err = w.Next() {
			_, member, _ := linkKind.List(w.Key())
			set.Add(member, linkKind.Keyspace.DeltaOf(w.Value()))
			n++
		}
		if err != nil {
			h.t.Fatal(err)
		}
		if _, ok := r.(*Run); ok && n > small.ListOver {
			h.t.Fatalf("a list of %d entries has no set", n)
		}
	}
	if got := set.Count(); got != uint64(len(members)) {
		h.t.Fatalf("%s has %d members, want %d", prefix, got, len(members))
	}
}
