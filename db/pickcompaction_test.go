package db

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/index"
	"weft.dev/weft/link"
)

// TestPickCompaction: a compaction replaces the oldest segments of the lowest level that has eight, and with a bound no
// more than make a segment of its size.
func TestPickCompaction(t *testing.T) {
	t.Parallel()
	type file struct {
		level int
		bytes int64
	}
	of := func(level int, sizes ...int64) (files []file) {
		for _, bytes := range sizes {
			files = append(files, file{level, bytes})
		}
		return files
	}
	const most = math.MaxInt64
	eight := []int64{8, 8, 8, 8, 8, 8, 8, 8}
	for _, tc := range []struct {
		name      string
		files     []file
		largest   int64
		from, end int
	}{
		{"none", nil, most, 0, 0},
		{"seven", of(0, eight[1:]...), most, 0, 0},
		{"eight", of(0, eight...), most, 0, 8},
		{"the lowest level", slices.Concat(of(1, eight...), of(0, eight...), of(0, 8)), most, 8, 16},
		{"a bound for all", of(0, eight...), 64, 0, 8},
		{"a bound for five", of(0, eight...), 47, 0, 5},
		{"a bound for one", of(0, eight...), 15, 0, 0},
		{"a level above that has room", slices.Concat(of(1, 1, 1, 1, 1, 1, 1, 1, 1), of(0, eight...)), 15, 0, 8},
	} {
		var files []*index.File
		for _, f := range tc.files {
			files = append(files, &index.File{ManifestRow: index.ManifestRow{Level: f.level, Bytes: f.bytes}})
		}
		if got := pickCompaction(files, tc.largest); !slices.Equal(got, files[tc.from:tc.end]) {
			t.Errorf("%s: %d segments, want %d", tc.name, len(got), tc.end-tc.from)
		}
	}
}

// TestLargestSegment: without a budget a compaction needs at most 2 GB of free disk, or a fifth of a large index.
func TestLargestSegment(t *testing.T) {
	t.Parallel()
	for _, gb := range []int64{0, 1, 13, 14, 20, 1000} {
		bytes := gb * 1_000_000_000
		largest := largestOf([]*index.File{{ManifestRow: index.ManifestRow{Bytes: bytes}}})
		if room := largest + largest/compactionSlack; room > max(2_000_000_000, bytes/5) {
			t.Errorf("of %d GB a compaction needs %d bytes", gb, room)
		}
		if largest < 1_000_000_000 {
			t.Errorf("of %d GB a compaction makes only %d bytes", gb, largest)
		}
	}
}

// largeCompaction is a store with a compaction of 64 seals that stands still before its first entry, and of eight more
// seals that come meanwhile.
type largeCompaction struct {
	s    *Store
	goOn func()        // lets it go on
	made []string      // by it and by smaller ones, in order: the log rows of each segment
	done chan struct{} // closed when it has made its segment
}

const (
	eventsPerSeal = 100 // the large compaction has 64 times as many entries by target, and as many by record
	largeSeals    = compactionFanOut * compactionFanOut
	smallSeals    = compactionFanOut
)

// holdLargeCompaction opens a store, and holds its first large compaction. enter is called for each change of the
// manifest after that.
func holdLargeCompaction(t *testing.T, enter func() error) *largeCompaction {
	t.Helper()
	var sealed atomic.Int64 // events
	var held, ended atomic.Bool
	began, goOn := make(chan struct{}), make(chan struct{})
	c := &largeCompaction{goOn: func() { close(goOn) }, done: make(chan struct{})}
	failpoint := func(name string) error {
		switch {
		case name == "enter" && held.Load():
			return enter()
		case name == "created" && sealed.Load() == largeSeals*eventsPerSeal && levels(c.s)[1] == compactionFanOut &&
			held.CompareAndSwap(false, true):
			close(began)
			<-goOn
		}
		return nil
	}
	onSegment := func(path string, merged bool) error {
		if !merged || !held.Load() || ended.Load() {
			return nil
		}
		var from, to uint64
		_, err := fmt.Sscanf(filepath.Base(path), "%d-%d-", &from, &to)
		c.made = append(c.made, fmt.Sprintf("%d-%d", from, to))
		if from == 1 && !ended.Swap(true) {
			close(c.done)
		}
		return err
	}
	var err error
	c.s, err = Open(Config{Dir: t.TempDir(), SealBytes: 1 << 30, Failpoint: failpoint, OnSegment: onSegment})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.s.Close() })
	seal := func() {
		var batch []apply.Event
		for i := range uint64(eventsPerSeal) {
			seq := uint64(sealed.Load()) + i + 1
			rev := string(link.AppendTID(nil, seq<<10))
			batch = append(batch, apply.Event{Seq: seq, TimeUS: int64(seq), Op: OpCreate,
				DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Rev: rev, Rkey: rev, Collection: "app.bsky.feed.like",
				Links: []Link{{Path: "subject.uri", Target: "https://example.com/"}}})
		}
		_, err := c.s.Apply(Batch{Host: "h", Events: batch})
		if err != nil {
			t.Error(err)
		}
		sealed.Add(eventsPerSeal)
		sealAll(c.s)
	}
	for range largeSeals {
		seal()
	}
	<-began
	for range smallSeals {
		seal()
	}
	if n := len(c.s.core.Snapshot().Files.Files); n != compactionFanOut+smallSeals {
		t.Errorf("%d segments while the large compaction begins", n)
	}
	return c
}

// TestSmallerCompactions: small segments that come during a large compaction are compacted before it ends.
func TestSmallerCompactions(t *testing.T) {
	t.Parallel()
	c := holdLargeCompaction(t, func() error { return nil })
	c.goOn()
	<-c.done
	const all = (largeSeals + smallSeals) * eventsPerSeal
	const large = largeSeals * eventsPerSeal
	want := []string{fmt.Sprintf("%d-%d", large+1, all), fmt.Sprintf("1-%d", large)}
	if !slices.Equal(c.made, want) {
		t.Errorf("compactions made %q, want %q", c.made, want)
	}
	n, err := c.s.CountLinks(t.Context(), "https://example.com/",
		Source{Collection: "app.bsky.feed.like", Path: "subject.uri"})
	if err != nil || n != all {
		t.Errorf("%d links, want %d: %v", n, all, err)
	}
}

// TestSmallerCompactionNotEntered: a failed change of the manifest stops writing. A larger compaction that waits for it
// was only not written, and must not make it a fault that is tried again.
func TestSmallerCompactionNotEntered(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	c := holdLargeCompaction(t, func() error {
		if broken.Load() {
			return syscall.ENOSPC // what only an unwritten segment may be tried again after
		}
		return nil
	})
	broken.Store(true)
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		for c.s.Failed() == nil && !c.s.isClosed() {
			c.s.sealed.Wait()
		}
	}()
	c.goOn()
	select {
	case <-failed:
		if err := c.s.Failed(); !errors.Is(err, errNotEntered) {
			t.Errorf("writing has stopped with %v", err)
		}
	case <-c.done:
		t.Error("the large compaction went on")
	}
}

// levels returns the number of segments by level.
func levels(s *Store) map[int]int {
	n := map[int]int{}
	for _, f := range s.core.Snapshot().Files.Files {
		n[f.Level]++
	}
	return n
}
