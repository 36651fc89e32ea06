package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// namesKind is that of the runs by name of the store, with a filter in memory of up to 3 pages.
var namesKind = Kind{
	Keyspace:  &lsm.Keyspace{Prefix: func(key []byte) int { return len(key) }},
	BlockSize: 128,
	Fixed: &FixedWidth{Size: codec.PLCSize, AppendFixed: codec.AppendPLC, AppendKey: codec.AppendPLCKey,
		Number: codec.NameID, AppendValue: codec.AppendID, Order: codec.NameOrder},
	FilterInMemory: 3,
}

var namesKinds = map[int]Kind{3: namesKind}

const base32Digits = "234567abcdefghijklmnopqrstuvwxyz"

// someName returns a key by name: mostly a did:plc, some of them equal to another one in their first digits, and some
// that are nearly one.
func someName(r *rand.Rand, odd int, others []string) string {
	switch r.IntN(odd) {
	case 0:
		return []string{"capp.bsky.feed.like", "cz", "ddid:web:example.com", "ddid:key:abc", "ddid:plc:", "ddid:plc:z~",
			"s\x01\x01subject.uri", "ddid:plc:22222222222222222222222", "ddid:plc:zzzzzzzzzzzzzzzzzzzzzzzz",
			"ddid:plc:222222222222222222222222"}[r.IntN(10)] + strings.Repeat("x", r.IntN(3))
	case 1:
		name := []byte(plcName(r))
		name[9+r.IntN(24)] = "01289AZ-._:%{~"[r.IntN(14)]
		return string(name)
	case 2:
		return plcName(r)[:9+r.IntN(24)]
	case 3:
		return plcName(r) + strings.Repeat("a", 1+r.IntN(300))
	}
	name := plcName(r)
	if len(others) > 0 && r.IntN(3) == 0 { // a neighbour
		other := others[r.IntN(len(others))]
		if n := r.IntN(34); n <= len(other) && strings.HasPrefix(other, "ddid:plc:") && len(other) == 33 {
			name = other[:n] + name[n:]
		}
	}
	return name
}

func plcName(r *rand.Rand) string {
	name := []byte("ddid:plc:")
	for range 24 {
		name = append(name, base32Digits[r.IntN(32)])
	}
	return string(name)
}

// someNames returns n names with ids. One in odd/4 has no fixed form.
func someNames(r *rand.Rand, n, odd int) map[string]string {
	names := map[string]string{}
	var keys []string
	first := r.Uint64N(1 << r.IntN(40))
	for id := range uint64(n) {
		name := someName(r, odd, keys)
		keys = append(keys, name)
		value := codec.AppendID(nil, first+id)
		if r.IntN(50) == 0 {
			value = [][]byte{{}, {1, 0}, []byte("text"), bytes.Repeat([]byte{7}, 300)}[r.IntN(4)]
		}
		names[name] = string(value)
	}
	return names
}

// namesRun writes names into a segment and returns its run, and one in memory.
func namesRun(t *testing.T, names map[string]string, o Options) (*Run, *lsm.MemRun) {
	t.Helper()
	var all []entry
	for key, value := range names {
		all = append(all, entry{[]byte(key), []byte(value)})
	}
	path := filepath.Join(t.TempDir(), "names.weft")
	if _, err := Write(path, nil, []Input{{3, namesKind, sorted(all)}}, o); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, namesKinds, NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.runs[3], build(namesKind.Keyspace, names)
}

// TestFixedEqualsMemory: a run with fixed blocks gives the same answers as a run in memory with the same entries, in
// the present format and in the one before.
func TestFixedEqualsMemory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(16) {
		o := Options{pageSize: []int{512, 4096}[seed%2], nodeSize: 256, format: []int{0, 0, 0, 2}[seed%4]}
		n := []int{1, 3, 40, 3000}[seed/4]
		t.Run(fmt.Sprintf("seed %d, %d names, %+v", seed, n, o), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 3))
			odd := []int{5, 12, 400}[seed%3]
			names := someNames(r, n, odd)
			got, want := namesRun(t, names, o)
			compareRuns(t, r, got, want, odd)
			fixed := 0
			for _, k := range blockKinds(t, got) {
				fixed += k
			}
			if n > 1000 && odd > 5 && (fixed > 0) != (o.format == 0) {
				t.Errorf("%d fixed blocks in format %d", fixed, o.format)
			}
		})
	}
}

// blockKinds returns 1 for each fixed block of a run, and 0 for another. It checks that a fixed block is in one page.
func blockKinds(t *testing.T, r *Run) (kinds []int) {
	t.Helper()
	for id := r.head.First; id < r.head.First+r.head.Blocks; id++ {
		kind := 0
		if err := r.readRow(tableBlocks, id, func(data []byte) error {
			if isFixed(data) {
				kind = 1
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		file := r.segment.file.reader()
		c, err := r.segment.rows[tableBlocks].find(file, id, 1<<20)
		file.release()
		if err != nil {
			t.Fatal(err)
		}
		if kind == 1 && c.local < c.length {
			t.Fatalf("a fixed block has %d bytes of its %d in its page", c.local, c.length)
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

func compareRuns(t *testing.T, r *rand.Rand, got *Run, want *lsm.MemRun, odd int) {
	t.Helper()
	keys := make([]string, 0, want.Len())
	for it, err := want.Iterate(nil, nil, false); ; {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(it.Key()))
		if more, _ := it.Next(); !more {
			break
		}
	}
	for _, key := range slices.Clone(keys) {
		near := []byte(key)
		near[len(near)-1]++
		keys = append(keys, key+"2", key[:len(key)-1], string(near), someName(r, odd, keys))
	}
	entries := got.EntryReader()
	for i, key := range keys {
		k := []byte(key)
		value, ok, err := got.Find(k, 0)
		wantValue, wantOK, _ := want.Find(k, 0)
		if err != nil || ok != wantOK || !bytes.Equal(value, wantValue) {
			t.Fatalf("%q is %x, %t, %v; want %x, %t", key, value, ok, err, wantValue, wantOK)
		}
		if ok && !got.MayContain(namesKind.Keyspace.Hash(k), k) {
			t.Fatalf("the filter denies %q", key)
		}
		below, err := got.Below(k)
		wantBelow, _ := want.Below(k)
		if below != wantBelow || err != nil {
			t.Fatalf("%d entries are below %q, %v; want %d", below, key, err, wantBelow)
		}
		if i < want.Len() {
			if k, err := entries.Key(int64(i)); string(k) != key || err != nil {
				t.Fatalf("entry %d is %q, %v; want %q", i, k, err, key)
			}
		}
	}
	for range 30 {
		from, to := []byte(keys[r.IntN(len(keys))]), []byte(keys[r.IntN(len(keys))])
		for _, bounds := range [][2][]byte{{from, to}, {from, nil}, {nil, to}, {nil, nil}} {
			for _, reverse := range []bool{false, true} {
				compareIterators(t, got, want, bounds[0], bounds[1], reverse)
			}
			sum, err := got.Sum(bounds[0], bounds[1])
			wantSum, _ := want.Sum(bounds[0], bounds[1])
			if sum != wantSum || err != nil {
				t.Fatalf("the sum of %q is %d, %v; want %d", bounds, sum, err, wantSum)
			}
			comparePrefixSums(t, got, namesKind.Keyspace, bounds[0], bounds[1], 1)
		}
	}
}

func compareIterators(t *testing.T, got, want lsm.Run, from, to []byte, reverse bool) {
	t.Helper()
	it, err := got.Iterate(from, to, reverse)
	wantIt, _ := want.Iterate(from, to, reverse)
	more := it != nil
	wantMore := wantIt != nil
	for wantMore && more && err == nil {
		if !bytes.Equal(it.Key(), wantIt.Key()) || !bytes.Equal(it.Value(), wantIt.Value()) {
			t.Fatalf("%q=%x, want %q=%x", it.Key(), it.Value(), wantIt.Key(), wantIt.Value())
		}
		more, err = it.Next()
		wantMore, _ = wantIt.Next()
	}
	if more != wantMore || err != nil {
		t.Fatalf("from %q to %q, reverse %t: more %t, %v; want %t", from, to, reverse, more, err, wantMore)
	}
}

// TestOddNames: names that anyone brings between the fixed ones take little more than their own size.
func TestOddNames(t *testing.T) {
	t.Parallel()
	const names, odd = 20_000, 1_000
	r := rand.New(rand.NewPCG(5, 5))
	fixed := map[string]string{}
	for id := range uint64(names) {
		fixed[plcName(r)] = string(codec.AppendID(nil, id))
	}
	mixed := map[string]string{}
	for key, value := range fixed {
		mixed[key] = value
	}
	for id := range uint64(odd) { // evenly: some in each block
		n := id * (1 << 20) / odd
		mixed[fmt.Sprintf("ddid:plc:%c%c%c%c~", base32Digits[n>>15], base32Digits[n>>10&31], base32Digits[n>>5&31],
			base32Digits[n&31])] = string(codec.AppendID(nil, names+id))
	}
	var sizes [2]int64
	for i, names := range []map[string]string{fixed, mixed} {
		run, _ := namesRun(t, names, Options{})
		sizes[i] = run.segment.info.Bytes
	}
	each := float64(sizes[1]-sizes[0]) / odd
	t.Logf("%.1f bytes a name with a fixed form, %.1f a name without", float64(sizes[0])/names, each)
	if each > 100 {
		t.Errorf("a name of 14 bytes takes %.1f", each)
	}
}

// TestFilterInMemory: a small filter stays in memory; a larger one is not asked in a run with fixed blocks, and is read
// through the cache in an older file.
func TestFilterInMemory(t *testing.T) {
	t.Parallel()
	absent := []byte("ddid:plc:absent")
	hash := namesKind.Keyspace.Hash(absent)
	for _, tc := range []struct {
		name      string
		n, format int
		pages     int
		passes    bool
	}{
		{"small", 1000, 3, 1, false},
		{"large", 20_000, 3, 0, true},
		{"small, format 2", 1000, 2, 1, false},
		{"large, format 2", 20_000, 2, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 1))
			names := map[string]string{}
			for id := range uint64(tc.n) {
				names[plcName(r)] = string(codec.AppendID(nil, id))
			}
			run, _ := namesRun(t, names, Options{format: tc.format})
			for range 2 {
				if got := run.MayContain(hash, absent); got != tc.passes {
					t.Errorf("it may contain an absent name: %t", got)
				}
			}
			if got := len(run.pages); (got > 0) != (tc.pages > 0) {
				t.Errorf("%d pages in memory", got)
			}
			if tc.pages > 0 && run.Memory() < 4000 {
				t.Errorf("it takes %d bytes", run.Memory())
			}
		})
	}
}

// TestDamagedFixed flips bits anywhere in a file with fixed blocks: each look-up gives the right answer or an error,
// and Verify finds what a look-up finds.
func TestDamagedFixed(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	names := someNames(r, 600, 20)
	run, _ := namesRun(t, names, Options{nodeSize: 128})
	data, err := os.ReadFile(run.segment.path)
	if err != nil {
		t.Fatal(err)
	}
	flips := 60
	if *thorough {
		flips = 600
	}
	path := filepath.Join(t.TempDir(), "damaged")
	found := 0
	for range flips {
		at := r.IntN(len(data))
		bit := byte(1) << r.IntN(8)
		data[at] ^= bit
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		data[at] ^= bit
		s, err := Open(path, namesKinds, NewCache(1<<20))
		if err != nil {
			continue
		}
		var failed error
		for key, want := range names {
			k := []byte(key)
			value, ok, err := s.Run(3).Find(k, 0)
			if err == nil && (!ok || string(value) != want) || !s.Run(3).MayContain(namesKind.Keyspace.Hash(k), k) {
				t.Fatalf("a flip at %d makes %q %x, %t", at, key, value, ok)
			}
			if err != nil {
				failed = err
			}
		}
		if failed != nil {
			found++
			if !strings.Contains(failed.Error(), path) {
				t.Errorf("the error names no file: %v", failed)
			}
			if s.Verify(t.Context()) == nil {
				t.Errorf("flip at %d: Verify finds nothing, and a look-up gives %v", at, failed)
			}
		}
		_ = s.Close()
	}
	if found < flips/4 {
		t.Errorf("of %d flips, look-ups found %d", flips, found)
	}
}

// FuzzFixed checks that any bytes give an error or entries.
func FuzzFixed(f *testing.F) {
	w := fixedWriter{kind: namesKind.Fixed, room: 4000}
	r := rand.New(rand.NewPCG(1, 1))
	for id := range uint64(100) {
		fixed, number, ok := w.fixed([]byte(fmt.Sprintf("ddid:plc:%s", strings.Repeat(string(base32Digits[id%32]), 24))),
			codec.AppendID(nil, id+r.Uint64N(9)))
		if ok && id < 32 {
			w.add(fixed, number)
		}
	}
	w.addOther([]byte("ddid:plc:3"), []byte{1, 1})
	f.Add(w.encode(nil))
	f.Add(binary.BigEndian.AppendUint64([]byte{0, 14, 0, 0, 1}, 5))
	f.Add(append(binary.BigEndian.AppendUint64([]byte{0, 0, 8, 0xff, 0xff}, 1<<63), make([]byte, 65535*23)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseFixed(data, codec.PLCSize)
		if err != nil {
			return
		}
		_, _ = b.find(make([]byte, codec.PLCSize))
		n := 0
		if err := namesKind.Fixed.each(data, func(_, _ []byte) { n++ }); err == nil && n < b.n {
			t.Errorf("%d entries of %d", n, b.n)
		}
		_, _ = namesKind.Fixed.columns(data, namesKind.Keyspace)
	})
}
