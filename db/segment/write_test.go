package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"weft.dev/weft/db/distinct"
)

var steps = []string{"created", "written", "synced", "renamed", "dir-synced"}

// TestFailedSteps checks that an error at any step leaves no file, and that the same path can be written afterwards.
func TestFailedSteps(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			c, dir, fault := makeContent(), t.TempDir(), errors.New("pulled the plug")
			path, o := filepath.Join(dir, "segment"), small
			var done []string
			o.Failpoint = func(name string) error {
				done = append(done, name)
				if name == step {
					return fault
				}
				return nil
			}
			if _, err := Write(path, nil, c.inputs(), o); !errors.Is(err, fault) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v", err)
			}
			if want := steps[:slices.Index(steps, step)+1]; !slices.Equal(done, want) {
				t.Errorf("steps %v, want %v", done, want)
			}
			checkDir(t, dir)
			c.write(t, path, small)
			checkDir(t, dir, "segment")
		})
	}
}

// TestCrashedSteps checks that a crash leaves no segment before the rename and a complete one after it, and that the
// same path can be written afterwards.
func TestCrashedSteps(t *testing.T) {
	t.Parallel()
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			c, dir, left := makeContent(), t.TempDir(), t.TempDir()
			o := small
			o.Failpoint = func(name string) error {
				if name != step {
					return nil
				}
				return os.CopyFS(left, os.DirFS(dir)) // the state of the disk at a crash
			}
			c.write(t, filepath.Join(dir, "segment"), o)
			path := filepath.Join(left, "segment")
			if slices.Index(steps, step) < slices.Index(steps, "renamed") {
				checkDir(t, left, "segment.tmp")
				c.write(t, path, small)
			}
			checkDir(t, left, "segment")
			s, err := Open(path, testKinds, NewCache(0))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if errs := c.read(t, s); errs != nil {
				t.Error(errs)
			}
		})
	}
}

func checkDir(t *testing.T, dir string, want ...string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the directory holds %v, want %v", got, want)
	}
}

type brokenEntries struct {
	entries
	err error
}

func (b *brokenEntries) Next() (bool, error) {
	if b.at == b.Len() && b.err != nil {
		return false, b.err
	}
	return b.entries.Next()
}

// longKey has a key that is longer than lsm.MaxKey.
type longKey struct{ *entries }

func (longKey) Key() []byte { return []byte("g/1." + strings.Repeat("1", 1<<16)) }

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	fault := errors.New("no more")
	tooLong := entry{[]byte("g/1.1"), make([]byte, MaxValue+1)}
	one := func(keys ...string) *entries {
		var all []entry
		for _, k := range keys {
			all = append(all, entry{[]byte(k), []byte("+")})
		}
		return inOrder(all...)
	}
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("g/%04d.1", i))
	}
	for _, tc := range []struct {
		name   string
		inputs []Input
		want   string
	}{
		{"entries that can't be read after many", []Input{{1, linkKind, &brokenEntries{*one(many...), fault}}}, "no more"},
		{"keys out of order", []Input{{1, linkKind, one("g/2.1", "g/1.1")}}, "not in order"},
		{"a key twice", []Input{{1, linkKind, one("g/2.1", "g/2.1")}}, "not in order"},
		{"entries that can't be read", []Input{{1, linkKind, &brokenEntries{*one("g/2.1"), fault}}}, "no more"},
		{"a run twice", []Input{{1, linkKind, one()}, {1, linkKind, one()}}, "duplicate run"},
		{"a key too long", []Input{{1, linkKind, longKey{one("g/1.1")}}}, "a key of"},
		{"a value too long", []Input{{2, recordsKind, inOrder(tooLong)}}, "a value of"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			o := small
			o.workers = 3
			_, err := Write(filepath.Join(dir, "s"), nil, tc.inputs, o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			checkDir(t, dir)
		})
	}
	t.Run("a file that is there", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(path, nil, nil, small); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v", err)
		}
		if data, err := os.ReadFile(path); string(data) != "x" || err != nil {
			t.Errorf("the file holds %q, %v", data, err)
		}
	})
}

// TestExtremes writes empty runs, the longest keys and values, and a path with the special characters of URIs.
func TestExtremes(t *testing.T) {
	t.Parallel()
	c := content{1: {}, 2: {}}
	c.roundTrip(t, "empty")
	c = content{1: {"g1/01.1": "+"}, 2: {"r1/01.1": ""}}
	c.roundTrip(t, "one of 100%?#&_pragma=x y")
	c = content{1: {}, 2: {}}
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		c[1]["g1/01."+strings.Repeat("1", 1<<16-20)+n] = "+"
		c[2]["r1/01."+n] = strings.Repeat(n, 1<<20)
	}
	c[2]["r1/01.6"] = strings.Repeat("6", MaxValue)
	c.roundTrip(t, "long")
}

func (c content) roundTrip(t *testing.T, name string) {
	t.Helper()
	parallel := small
	parallel.workers = 3
	for _, o := range []Options{{}, small, parallel} {
		path := filepath.Join(t.TempDir(), name)
		c.write(t, path, o)
		s, err := Open(path, testKinds, NewCache(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		if errs := c.read(t, s); errs != nil {
			t.Error(errs)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSameBytes checks that the same runs give the same bytes on any number of cores, so that the checksum identifies
// the content.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	for name, inputs := range map[string]func() []Input{
		"made":   makeContent().inputs,
		"sample": sampleOf(t, 3000, false).inputs,
	} {
		var first Info
		for _, workers := range []int{1, 1, 2, 3, 4} {
			o := small
			o.workers = workers
			info, err := Write(filepath.Join(t.TempDir(), "segment"), nil, inputs(), o)
			if err != nil {
				t.Fatal(err)
			}
			if first.Checksum == "" {
				first = info
			}
			if info.Checksum != first.Checksum {
				t.Errorf("%s, %d workers: two files of the same runs differ", name, workers)
			}
		}
	}
}

// TestManyReaders reads one file from many goroutines, through a cache that holds little of it.
func TestManyReaders(t *testing.T) {
	t.Parallel()
	c, path := makeContent(), filepath.Join(t.TempDir(), "segment")
	c.write(t, path, small)
	s, err := Open(path, testKinds, NewCache(20_000))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 3 {
				if errs := c.read(t, s); errs != nil {
					t.Error(errs)
				}
				// Cached sets are shared: Merge must not change them.
				var all distinct.Set
				for g := range 8 {
					set, ok, err := s.Run(1).(*Run).Distinct(fmt.Appendf(nil, "g%d/", g%4))
					if err != nil || !ok {
						t.Error(ok, err)
						return
					}
					all.Merge(set)
				}
				all.Count()
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// endless generates entries and records the peak memory.
type endless struct {
	n, end int
	key    []byte
	most   uint64
}

func (e *endless) Next() (bool, error) {
	if e.n++; e.n%250_000 == 0 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		e.most = max(e.most, m.HeapAlloc)
	}
	e.key = fmt.Appendf(e.key[:0], "g%08d/%d.0", e.n, e.n%1000)
	return e.n <= e.end, nil
}
func (e *endless) Key() []byte   { return e.key }
func (e *endless) Value() []byte { return []byte{'+'} }

// TestWriteMemory writes more prefixes than fit in memory. It is not parallel: the memory of other tests would count.
func TestWriteMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	e, dir := &endless{end: 1_000_000}, t.TempDir()
	if *thorough {
		e.end = 3_000_000
	}
	info, err := Write(filepath.Join(dir, "segment"), nil, []Input{{1, linkKind, e}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e.most > 48<<20 {
		t.Errorf("%d MiB of memory for %d entries", e.most>>20, e.end)
	}
	checkDir(t, dir, "segment")
	s, err := Open(filepath.Join(dir, "segment"), testKinds, NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("%d MiB of memory, %d blocks, %d prefixes", e.most>>20, info.Runs[0].Blocks, info.Runs[0].Prefixes)
}

// TestCanceled: a Write that is canceled while the complete file is read leaves no file.
func TestCanceled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	canceled := errors.New("canceled")
	o := small
	var done string
	o.Failpoint = func(name string) error { done = name; return nil }
	o.Canceled = func() error { return canceled }
	_, err := Write(filepath.Join(dir, "segment"), nil, makeContent().inputs(), o)
	if !errors.Is(err, canceled) || done != "written" {
		t.Errorf("after %s: %v", done, err)
	}
	checkDir(t, dir)
}

// TestWriteback: little of a file is left for its last sync, because the rows are written to the disk meanwhile.
func TestWriteback(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "segment")
	calls, last := 0, int64(0)
	o := Options{workers: 2, writeDirty: func(f *os.File) error {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		// SQLite holds 4 MiB of pages.
		if n := st.Size() - last; n > 4<<20+2<<20 {
			t.Errorf("%d bytes of the file at once", n)
		}
		last = st.Size()
		calls++
		return nil
	}}
	info, err := Write(path, nil, []Input{{2, Kind{Keyspace: recordsKind.Keyspace}, &noise{entries: 6000}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if least := int(info.Bytes>>20) - 1; calls < least || info.Bytes < 10<<20 {
		t.Errorf("%d calls for %d bytes", calls, info.Bytes)
	}
	// The last sync doesn't report this error again.
	full := errors.New("no space")
	o.writeDirty = func(*os.File) error { return full }
	_, err = Write(path+"2", nil, []Input{{2, Kind{Keyspace: recordsKind.Keyspace}, &noise{entries: 1000}}}, o)
	if !errors.Is(err, full) {
		t.Errorf("the disk has lost rows: %v", err)
	}
	checkDir(t, filepath.Dir(path), "segment")
}

// noise is entries that do not compress.
type noise struct {
	entries, n int
	key, value []byte
}

func (e *noise) Next() (bool, error) {
	if e.n == e.entries {
		return false, nil
	}
	e.n++
	e.key = fmt.Appendf(e.key[:0], "%08d", e.n)
	e.value = e.value[:0]
	for range 256 {
		e.value = binary.LittleEndian.AppendUint64(e.value, rand.Uint64())
	}
	return true, nil
}

func (e *noise) Key() []byte   { return e.key }
func (e *noise) Value() []byte { return e.value }
