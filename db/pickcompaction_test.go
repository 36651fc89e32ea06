package db

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
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

// TestSmallerCompactions: small segments that come during a large compaction are compacted before it ends.
func TestSmallerCompactions(t *testing.T) {
	t.Parallel()
	var s *Store
	const events = 100      // a seal; the large compaction has 128 times as many entries by target, and as many by record
	var sealed atomic.Int64 // events
	seal := func() {
		var batch []apply.Event
		for i := range uint64(events) {
			seq := uint64(sealed.Load()) + i + 1
			rev := string(link.AppendTID(nil, seq<<10))
			batch = append(batch, apply.Event{Seq: seq, TimeUS: int64(seq), Op: OpCreate,
				DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Rev: rev, Rkey: rev, Collection: "app.bsky.feed.like",
				Links: []Link{{Path: "subject.uri", Target: "https://example.com/"}}})
		}
		_, err := s.Apply(Batch{Host: "h", Events: batch})
		if err != nil {
			t.Error(err)
		}
		sealed.Add(events)
		sealAll(s)
	}
	const large, small = compactionFanOut * compactionFanOut, compactionFanOut // seals
	var held, ended atomic.Bool
	began, goOn := make(chan struct{}), make(chan struct{})
	var made []string // by compactions, from the large one on; the worker writes it
	done := make(chan struct{})
	s, err := Open(Config{Dir: t.TempDir(), SealBytes: 1 << 30, Failpoint: func(name string) error {
		if name == "created" && sealed.Load() == large*events && levels(s)[1] == compactionFanOut && held.CompareAndSwap(false, true) {
			close(began)
			<-goOn
		}
		return nil
	}, OnSegment: func(path string, merged bool) error {
		if merged && held.Load() && !ended.Load() {
			var from, to uint64
			if _, err := fmt.Sscanf(filepath.Base(path), "%d-%d-", &from, &to); err != nil {
				return err
			}
			made = append(made, fmt.Sprintf("%d-%d", from, to))
			if from == 1 {
				ended.Store(true)
				close(done)
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for range large {
		seal()
	}
	<-began
	for range small {
		seal()
	}
	if n := len(s.core.Snapshot().Files.Files); n != compactionFanOut+small {
		t.Errorf("%d segments while the large compaction begins", n)
	}
	close(goOn)
	<-done
	want := []string{fmt.Sprintf("%d-%d", large*events+1, (large+small)*events), fmt.Sprintf("1-%d", large*events)}
	if !slices.Equal(made, want) {
		t.Errorf("compactions made %q, want %q", made, want)
	}
	n, err := s.CountLinks(t.Context(), "https://example.com/", Source{Collection: "app.bsky.feed.like", Path: "subject.uri"})
	if err != nil || n != sealed.Load() {
		t.Errorf("%d links, want %d: %v", n, sealed.Load(), err)
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
