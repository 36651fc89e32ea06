package segment

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// thorough runs the tests that take longest at their full sizes.
var thorough = flag.Bool("thorough", false, "run every test at its full size")

// content is a segment's runs as maps.
type content [3]map[string]string

func makeContent() (c content) {
	r := rand.New(rand.NewPCG(1, 1))
	c[1], c[2] = map[string]string{}, map[string]string{}
	for range 400 {
		c[1][fmt.Sprintf("g%d/%02d.%d", r.IntN(4), r.IntN(40), r.IntN(9))] = string("+-"[r.IntN(5)/4])
		c[2][fmt.Sprintf("r%d/%02d.%d", r.IntN(4), r.IntN(40), r.IntN(9))] = strings.Repeat("x", r.IntN(20))
	}
	return c
}

func (c content) inputs() []Input {
	var inputs []Input
	for id := 1; id <= 2; id++ {
		var all []entry
		for key, value := range c[id] {
			all = append(all, entry{[]byte(key), []byte(value)})
		}
		inputs = append(inputs, Input{id, testKinds[id], sorted(all)})
	}
	return inputs
}

func (c content) write(tb testing.TB, path string, o Options) Info {
	tb.Helper()
	info, err := Write(path, map[string]string{"a": "b"}, c.inputs(), o)
	if err != nil {
		tb.Fatal(err)
	}
	return info
}

// read reads everything from a segment. It returns the errors and fails the test on a wrong answer.
func (c content) read(tb testing.TB, s *Segment) (errs []error) {
	tb.Helper()
	for id := 1; id <= 2; id++ {
		r := s.Run(id)
		keyspace := testKinds[id].Keyspace
		note := func(err error, right bool, what string, args ...any) {
			tb.Helper()
			if err != nil {
				errs = append(errs, err)
			} else if !right {
				tb.Fatalf("run %d: wrong "+what, append([]any{id}, args...)...)
			}
		}
		for key, want := range c[id] {
			k := []byte(key)
			if !r.MayContain(keyspace.Hash(k), k) {
				tb.Fatalf("the filter of run %d has a false negative: %s", id, key)
			}
			for _, hint := range []lsm.Hint{lsm.Once, 0} {
				value, ok, err := r.Find(k, hint)
				note(err, ok && string(value) == want, "value of %s: %q", key, value)
				_, ok, err = r.Find(append(k, '!'), hint)
				note(err, !ok, "value of %s!", key)
			}
		}
		for _, reverse := range []bool{false, true} {
			for _, from := range [][]byte{nil, {}} {
				n := 0
				w, err := r.Iterate(from, nil, reverse)
				for more := w != nil && err == nil; more; more, err = w.Next() {
					n++
					if c[id][string(w.Key())] != string(w.Value()) {
						tb.Fatalf("run %d has %s as %q", id, w.Key(), w.Value())
					}
				}
				note(err, n == len(c[id]), "number of entries: %d", n)
			}
		}
		whole := int64(0)
		err := r.PrefixSums(nil, nil, func([]byte) (int, error) { return 3, nil }, func(_ []byte, n int64) error {
			whole += n
			return nil
		})
		note(err, whole == r.Total(), "sum of all prefixes: %d", whole)
		for g := range 5 {
			prefix := fmt.Sprintf("g%d/", g)
			sum := int64(0)
			set := distinct.Set{}
			for key, value := range c[id] {
				if strings.HasPrefix(key, prefix) {
					delta := keyspace.DeltaOf([]byte(value))
					sum += int64(delta)
					_, member, _ := linkKind.List([]byte(key))
					set.Add(member, delta)
				}
			}
			got, err := r.Sum([]byte(prefix), lsm.PrefixEnd([]byte(prefix)))
			note(err, got == sum, "sum of %s: %d", prefix, got)
			part, ok, err := r.(*Run).Distinct([]byte(prefix))
			note(err, !ok || part.Equal(&set), "set of %s", prefix)
		}
		note(nil, r.Len() == len(c[id]), "length: %d", r.Len())
	}
	return errs
}

// TestDamage flips bits anywhere in a file and checks that every read gives the right answer or an error with the path.
func TestDamage(t *testing.T) {
	t.Parallel()
	c, dir := makeContent(), t.TempDir()
	whole := filepath.Join(dir, "whole")
	info := c.write(t, whole, small)
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	header, most := 50, 130
	if *thorough {
		header, most = 100, 400
	}
	positions := make([]int, 0, most)
	for i := range header {
		positions = append(positions, i)
	}
	r := rand.New(rand.NewPCG(2, 2))
	for len(positions) < cap(positions) && !testing.Short() {
		positions = append(positions, r.IntN(len(data)))
	}
	path, missed, unread := filepath.Join(dir, "damaged"), 0, 0
	for n, at := range positions {
		old := data[at]
		data[at] ^= byte(1 + r.IntN(255))
		if n%3 == 0 {
			data[at] = old ^ 1<<r.IntN(8)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		data[at] = old
		if sum, err := FileChecksum(path); err != nil || sum == info.Checksum {
			t.Fatalf("the checksum misses a flip at %d: %v", at, err)
		}
		s, err := Open(path, testKinds, NewCache(1<<20))
		if err == nil {
			errs := c.read(t, s)
			verified := s.Verify(context.Background())
			switch {
			case verified == nil && len(errs) > 0:
				t.Errorf("flip at %d: Verify finds nothing, and reading gives %v", at, errs[0])
			case verified == nil:
				missed++
			case len(errs) == 0:
				unread++
			}
			errs = append(errs, verified)
			for _, err := range errs {
				if err != nil && !strings.Contains(err.Error(), path) {
					t.Errorf("flip at %d: the error names no file: %v", at, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("flip at %d: the error names no file: %v", at, err)
		}
	}
	// What Verify misses are unused bytes of SQLite's pages, and parts of its header.
	t.Logf("%d flips: Verify missed %d, which changed nothing; %d concerned no answer", len(positions), missed, unread)
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	c, dir := makeContent(), t.TempDir()
	whole := filepath.Join(dir, "whole")
	c.write(t, whole, small)
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	full := len(data)
	for _, n := range []int{0, 1, 99, 100, 512, 1000, full / 2, full - 512, full - 1, full + 1, full + 512} {
		path := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(path, append(bytes.Clone(data), make([]byte, 512)...)[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, testKinds, NewCache(0)); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a file of %d bytes instead of %d: %v", n, len(data), err)
		}
	}
}

// TestRefused checks that Open refuses intact files of another kind or format.
func TestRefused(t *testing.T) {
	t.Parallel()
	c := makeContent()
	for _, tc := range []struct {
		name  string
		at    int // a byte to be set
		value byte
		kinds map[int]Kind
		want  string
	}{
		{"a newer format", 63, format + 1, testKinds, "its format is 4, and this weft reads 1 to 3"},
		{"an older format", 63, oldestFormat - 1, testKinds, "its format is 0, and this weft reads 1 to 3"},
		{"another application", 68, 0, testKinds, "another application"},
		{"no database", 0, 'x', testKinds, "another application"},
		{"a run of an unknown kind", 0, 'S', map[int]Kind{1: linkKind}, "an unknown run 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "segment")
			c.write(t, path, small)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[tc.at] = tc.value
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, tc.kinds, NewCache(0)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestSwappedRows checks that an intact row with another row's number is damage.
func TestSwappedRows(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		"UPDATE blocks SET data = (SELECT data FROM blocks WHERE id = 2) WHERE id = 3",
		"UPDATE nodes SET data = (SELECT data FROM nodes WHERE id = 1) WHERE id = 2",
		"UPDATE filters SET data = (SELECT data FROM filters WHERE id = 1) WHERE id = 2",
		"UPDATE sets SET data = (SELECT data FROM sets WHERE prefix = cast('g1/' as blob)) WHERE prefix = cast('g2/' as blob)",
		"DELETE FROM blocks WHERE id = 3",
		"DELETE FROM nodes WHERE id = 2",
		"DELETE FROM filters WHERE id = 2",
		"DELETE FROM sets WHERE prefix = cast('g2/' as blob)",
		"INSERT INTO blocks VALUES (1000, x'')",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			c, path := makeContent(), filepath.Join(t.TempDir(), "segment")
			c.write(t, path, small)
			w, err := createFile(path+"x", small.withDefaults())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.tx.Exec("COMMIT; ATTACH ? AS other; BEGIN", path); err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"blocks", "nodes", "filters", "sets"} {
				query = strings.ReplaceAll(query, " "+table, " other."+table)
			}
			if _, err := w.tx.Exec(query); err != nil {
				t.Fatal(err)
			}
			if err := w.commit(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path, testKinds, NewCache(0))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			c.read(t, s)
			if err := s.Verify(t.Context()); err == nil {
				t.Error("Verify finds nothing")
			}
		})
	}
}
