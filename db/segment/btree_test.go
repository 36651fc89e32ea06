package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeTables writes a file with rows of the given sizes in tables blocks and sets.
func writeTables(tb testing.TB, path string, pageSize int, sizes []int) {
	tb.Helper()
	w, err := createFile(path, Options{pageSize: pageSize}.withDefaults())
	if err != nil {
		tb.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, uint64(pageSize)))
	for i, n := range sizes {
		row := w.row()
		for range n {
			row = append(row, byte(r.Uint32()))
		}
		if _, err := w.add(tableBlocks, row); err != nil {
			tb.Fatal(err)
		}
		prefix := fmt.Appendf(nil, "%06d%s", i, strings.Repeat("p", n/3))
		if err := w.addSet(1, prefix, append(w.row(), row[sumSize:]...)); err != nil {
			tb.Fatal(err)
		}
	}
	n := int64(len(sizes))
	err = w.addHead(head{Runs: []runHead{{RunInfo: RunInfo{ID: 1, Blocks: n, Sets: n}, First: 1}}})
	if err != nil {
		tb.Fatal(err)
	}
	if err := w.commit(); err != nil {
		tb.Fatal(err)
	}
}

// rowSizes are sizes on both sides of each rule by which SQLite spreads a row over pages, and random ones.
func rowSizes(pageSize int) (sizes []int) {
	for _, n := range []int{pageSize - 35, pageSize, 2 * pageSize, 3*pageSize - 40} {
		for d := -20; d <= 4; d++ {
			sizes = append(sizes, max(0, n+d-sumSize))
		}
	}
	r := rand.New(rand.NewPCG(2, uint64(pageSize)))
	for range 400 {
		sizes = append(sizes, r.IntN(20), r.IntN(5000))
	}
	return append(sizes, 200_000, 0, 100_000)
}

// TestRowsAsSQLite checks that rows of all sizes, in B-trees of several levels and with overflow pages, are read as
// SQLite reads them, for each page size.
func TestRowsAsSQLite(t *testing.T) {
	t.Parallel()
	for pageSize := 512; pageSize <= 65536; pageSize *= 2 {
		t.Run(fmt.Sprint(pageSize), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "1")
			sizes := rowSizes(pageSize)
			writeTables(t, path, pageSize, sizes)
			s, err := Open(path, testKinds, NewCache(0))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			compareRows(t, s, len(sizes))
		})
	}
}

// compareRows compares the rows of blocks and sets with those that SQLite reads, front to back and in random order.
func compareRows(t *testing.T, s *Segment, n int) {
	t.Helper()
	db, err := openReadOnly(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r := s.file.reader()
	defer r.release()
	order := rand.New(rand.NewPCG(3, 3)).Perm(n)
	for i := range 2 * n {
		id := i%n + 1
		if i >= n {
			id = order[i-n] + 1
		}
		var row, prefix, set []byte
		if err := db.QueryRow("SELECT data FROM blocks WHERE id = ?", id).Scan(&row); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow("SELECT prefix, data FROM sets WHERE rowid = ?", id).Scan(&prefix, &set); err != nil {
			t.Fatal(err)
		}
		var columns [3]field
		err := s.rows[tableBlocks].read(r, int64(id), columns[:2])
		if err != nil || !bytes.Equal(columns[1].data, row) {
			t.Fatalf("row %d of blocks, of %d bytes: %d bytes, %v", id, len(row), len(columns[1].data), err)
		}
		err = s.sets.read(r, int64(id), columns[:])
		if err != nil || !bytes.Equal(columns[1].data, prefix) || !bytes.Equal(columns[2].data, set) {
			t.Fatalf("row %d of sets, of %d bytes: %v", id, len(set), err)
		}
		err = s.sets.readSome(r, int64(id), len(prefix)+64, columns[:])
		if err != nil || !bytes.Equal(columns[1].data, prefix) || columns[2].size != len(set) {
			t.Fatalf("the beginning of row %d of sets, of %d bytes: %v", id, len(set), err)
		}
	}
	for _, id := range []int64{-1, 0, int64(n) + 1, 1 << 40} {
		if err := s.rows[tableBlocks].read(r, id, make([]field, 2)); !errors.Is(err, errDamaged) {
			t.Errorf("row %d, which isn't there: %v", id, err)
		}
	}
}

// TestCyclicPages checks that pages that refer to themselves or to each other are damage, found in bounded time.
func TestCyclicPages(t *testing.T) {
	t.Parallel()
	c, dir := makeContent(), t.TempDir()
	whole := filepath.Join(dir, "whole")
	c.write(t, whole, small)
	s, err := Open(whole, testKinds, NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	root := s.rows[tableBlocks].root
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(page []byte){
		"the last child is the root": func(page []byte) { binary.BigEndian.PutUint32(page[8:], root) },
		"the only child is the root": func(page []byte) {
			binary.BigEndian.PutUint16(page[3:], 0)
			binary.BigEndian.PutUint32(page[8:], root)
		},
		"each child is the root": func(page []byte) {
			for i := range int(binary.BigEndian.Uint16(page[3:])) {
				binary.BigEndian.PutUint32(page[binary.BigEndian.Uint16(page[interiorHeader+2*i:]):], root)
			}
			binary.BigEndian.PutUint32(page[8:], root)
		},
		"a child is no page":         func(page []byte) { binary.BigEndian.PutUint32(page[8:], 0) },
		"a child is beyond the file": func(page []byte) { binary.BigEndian.PutUint32(page[8:], 1<<31) },
		"more cells than a page has": func(page []byte) { binary.BigEndian.PutUint16(page[3:], 1<<15) },
		"a cell is beyond the page":  func(page []byte) { binary.BigEndian.PutUint16(page[interiorHeader:], 511) },
		"a page of an unknown kind":  func(page []byte) { page[0] = 0x02 },
		"the rows are not in order": func(page []byte) {
			copy(page[interiorHeader:interiorHeader+2], page[interiorHeader+2:])
		},
		"a leaf in place of the root": func(page []byte) { page[0] = leafPage },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(whole)
			if err != nil {
				t.Fatal(err)
			}
			change(data[int(root-1)*512:])
			path := filepath.Join(t.TempDir(), "damaged")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path, testKinds, NewCache(0))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			errs := c.read(t, s)
			if len(errs) == 0 {
				t.Error("no read fails")
			}
			for _, err := range errs {
				if !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), path) {
					t.Fatalf("not damage of the file: %v", err)
				}
			}
			if s.Verify(context.Background()) == nil {
				t.Error("Verify finds nothing")
			}
		})
	}
}

// FuzzPages changes bytes of a file and checks that every read gives the right answer or an error.
func FuzzPages(f *testing.F) {
	c, dir := makeContent(), f.TempDir()
	whole := filepath.Join(dir, "whole")
	c.write(f, whole, small)
	data, err := os.ReadFile(whole)
	if err != nil {
		f.Fatal(err)
	}
	for page := range uint32(len(data) / 512) {
		f.Add(page*512, []byte{interiorPage, 0, 0, 0, 9})
		f.Add(page*512, []byte{leafPage, 0, 0, 0, 9})
		f.Add(page*512+8, []byte{0, 0, 0, byte(page + 1)})
	}
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		damaged := bytes.Clone(data)
		copy(damaged[int(at)%len(damaged):], patch)
		path := filepath.Join(t.TempDir(), "damaged")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, testKinds, NewCache(1<<20))
		if err != nil {
			return
		}
		defer func() { _ = s.Close() }()
		c.read(t, s)
	})
}

// FuzzRecord checks that no bytes make the parser of records panic, and that columns lie within them.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{3, 0, 18, 1, 2, 3}, 6)
	f.Add([]byte{4, 1, 23, 0x92, 1, 'h', 'e'}, 200)
	f.Add(bytes.Repeat([]byte{0xff}, 20), 1<<30)
	f.Fuzz(func(t *testing.T, data []byte, length int) {
		var columns [3]field
		if length < len(data) || parseRecord(data, length, columns[:]) != nil {
			return
		}
		sum := 0
		for _, c := range columns {
			sum += c.size
			if len(c.data) > c.size {
				t.Fatalf("a column of %d bytes has %d", c.size, len(c.data))
			}
			_, _ = c.blob()
			_, _ = c.text()
			if n, err := c.number(); err == nil && n < 0 {
				t.Fatalf("number %d", n)
			}
		}
		if sum > length {
			t.Fatalf("columns of %d bytes in %d", sum, length)
		}
	})
}
