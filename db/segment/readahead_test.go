package segment

import (
	"os"
	"path/filepath"
	"testing"
)

// manyBlocks opens a segment of small blocks.
func manyBlocks(t *testing.T) *Segment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "1")
	if _, err := Write(path, nil, sampleOf(t, 20_000, false).inputs(), Options{blockSize: 256}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, sampleKinds, NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestReadahead checks what an iteration asks the kernel for: nothing for a look-up or a short list, and for a long one
// each block once, before it is read, and none far behind the last one.
func TestReadahead(t *testing.T) {
	t.Parallel()
	s := manyBlocks(t)
	var asked []span
	s.file.soon = func(_ *os.File, from, length int64) { asked = append(asked, span{from, from + length}) }
	r := s.runs[1]
	if r.head.Blocks < 4*maxReadahead {
		t.Fatalf("%d blocks are too few", r.head.Blocks)
	}
	last := r.head.First + r.head.Blocks - 1
	for _, c := range []struct {
		name        string
		step        int64
		from, reads int64
		whole       bool
		want        int64 // blocks from the first up to the last that is asked for, at most
	}{
		{"one block", 1, r.head.First, 1, false, 0},
		{"two blocks", 1, r.head.First, 2, false, 0},
		{"two blocks backwards", -1, last, 2, false, 0},
		{"three blocks", 1, r.head.First + 7, 3, false, 4},
		{"ten blocks backwards", -1, last, 10, false, 16},
		{"all", 1, r.head.First, r.head.Blocks, true, r.head.Blocks},
		{"all backwards", -1, last, r.head.Blocks, true, r.head.Blocks},
		{"all of a list", 1, r.head.First, r.head.Blocks, false, r.head.Blocks},
	} {
		asked = nil
		a := r.readahead(c.from, c.step, c.whole)
		missed := int64(0)
		for i := range c.reads {
			id := c.from + i*c.step
			if at := r.offsetOf(t, id); !covers(asked, at) {
				missed++
			}
			a.next(id)
		}
		blocks := (a.asked - c.from) * c.step
		if len(asked) == 0 {
			blocks = 0
		}
		if blocks > c.want {
			t.Errorf("%s: asked as far as block %d, want %d at most", c.name, blocks, c.want)
		}
		if limit := min(c.reads, readaheadAfter+1); missed > limit {
			t.Errorf("%s: %d blocks were not asked for before they were read, want %d at most", c.name, missed, limit)
		}
		var sum int64
		for _, a := range asked {
			sum += a.to - a.from
			if a.from < 0 || a.to > s.file.size {
				t.Errorf("%s: asked for bytes %d to %d of %d", c.name, a.from, a.to, s.file.size)
			}
		}
		// Two requests share the leaf pages at their ends.
		if most := s.file.size + int64(len(asked)*3*s.file.pageSize); sum > most {
			t.Errorf("%s: asked for %d bytes, want %d at most", c.name, sum, most)
		}
	}
}

// TestReadaheadOfReads checks which reads of a run ask the kernel for blocks: an iteration and the sums of prefixes
// over the whole run, which read most blocks after they were asked for, and no look-up.
func TestReadaheadOfReads(t *testing.T) {
	t.Parallel()
	s := manyBlocks(t)
	var bytes int64
	s.file.soon = func(_ *os.File, _, length int64) { bytes += length }
	r := s.runs[1]
	first := r.offsetOf(t, r.head.First)
	size := r.offsetOf(t, r.head.First+r.head.Blocks-1) - first
	iterate := func(reverse bool) func() error {
		return func() error {
			it, err := r.Iterate(nil, nil, reverse)
			for more := true; more && err == nil; more, err = it.Next() {
			}
			return err
		}
	}
	for _, c := range []struct {
		name string
		read func() error
		most bool
	}{
		{"a look-up", func() error {
			_, _, err := r.Find(sampleOf(t, 20_000, false).inputs()[0].Entries.(*entries).some(7), 0)
			return err
		}, false},
		{"an iteration", iterate(false), true},
		{"an iteration backwards", iterate(true), true},
		{"sums of prefixes", func() error {
			return r.PrefixSums(nil, nil, func(key []byte) (int, error) { return r.kind.Keyspace.Prefix(key), nil },
				func([]byte, int64) error { return nil })
		}, true},
	} {
		bytes = 0
		if err := c.read(); err != nil {
			t.Fatal(err)
		}
		if c.most && bytes < size*9/10 || !c.most && bytes > 0 {
			t.Errorf("%s asked for %d bytes of %d", c.name, bytes, size)
		}
	}
}

// span is a range of bytes.
type span struct{ from, to int64 }

func covers(spans []span, at int64) bool {
	for _, s := range spans {
		if at >= s.from && at < s.to {
			return true
		}
	}
	return false
}

// offsetOf returns where the row of a data block begins.
func (r *Run) offsetOf(t *testing.T, id int64) int64 {
	t.Helper()
	file := r.segment.file.reader()
	defer file.release()
	c, err := r.segment.rows[tableBlocks].find(file, id, 64)
	if err != nil {
		t.Fatal(err)
	}
	return c.at
}
