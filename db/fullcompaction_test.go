package db

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/link"
)

// sealOne applies an event, which adds a link, and seals it into a segment of its own.
func sealOne(t *testing.T, s *Store, seq uint64) {
	t.Helper()
	applyLike(t, s, seq)
	sealAll(s)
}

// applyLike applies an event, which adds a link.
func applyLike(t *testing.T, s *Store, seq uint64) {
	t.Helper()
	rev := string(link.AppendTID(nil, seq<<10))
	_, err := s.Apply(Batch{Host: "h", Events: []apply.Event{{Seq: seq, TimeUS: int64(seq), Op: OpCreate,
		DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Rev: rev, Rkey: rev, Collection: "app.bsky.feed.like",
		Links: []Link{{Path: "subject.uri", Target: "https://example.com/"}}}}})
	if err != nil {
		t.Fatal(err)
	}
}

// sealAll seals all log rows.
func sealAll(s *Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.core.Snapshot().Sealed < s.core.Snapshot().Seq && s.Failed() == nil {
		if s.sealing == nil {
			s.makeImmutable()
		}
		s.sealed.Wait()
	}
}

// TestCompact: all segments become one, of the level that they had or the next, which has all links. With one segment
// there is nothing to do. Without room the call says how much is missing, and the next one works.
func TestCompact(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(1 << 40)
	s, err := Open(Config{Dir: t.TempDir(), Disk: func(string) (int64, int64, error) { return free.Load(), 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	compact := func(want int, level int) {
		t.Helper()
		did, err := s.Compact(t.Context(), func(int64, int64) {})
		if err != nil || did.Segments != want {
			t.Fatalf("%d segments became one, want %d: %v", did.Segments, want, err)
		}
		files := s.core.Snapshot().Files.Files
		if len(files) != min(int(s.Seq()), 1) || len(files) == 1 && files[0].Level != level {
			t.Errorf("%d segments, the first %+v, want level %d", len(files), files, level)
		}
		n, err := s.CountLinks(t.Context(), "https://example.com/",
			Source{Collection: "app.bsky.feed.like", Path: "subject.uri"})
		if err != nil || n != int64(s.Seq()) {
			t.Errorf("%d links, want %d: %v", n, s.Seq(), err)
		}
	}
	compact(0, 0)
	sealOne(t, s, 1)
	compact(0, 0)
	sealOne(t, s, 2)
	sealOne(t, s, 3)
	compact(3, 1)
	sealOne(t, s, 4)
	compact(2, 1)
	sealOne(t, s, 5)
	free.Store(s.room.reserve.Load() + 1)
	_, err = s.Compact(t.Context(), func(int64, int64) {})
	if err == nil || !strings.Contains(err.Error(), "of free disk, and") ||
		!strings.Contains(err.Error(), "fly volumes extend") {
		t.Errorf("without room: %v", err)
	}
	if why := s.troubles.list(); len(why) > 0 {
		t.Errorf("a refused call leaves the store degraded: %q", why)
	}
	free.Store(1 << 40)
	compact(2, 1)
}

// TestCompactInterrupted: the end of the context ends the wait and not the compaction, a second call waits for the same
// one, and the closing of the store ends a wait.
func TestCompactInterrupted(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	goOn := make(chan struct{})
	var hold atomic.Bool
	s, err := Open(Config{Dir: t.TempDir(), OnSegment: func(_ string, merged bool) error {
		if merged && hold.Load() {
			began <- struct{}{}
			<-goOn
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sealOne(t, s, 1)
	sealOne(t, s, 2)
	hold.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Compact(ctx, func(int64, int64) {})
		first <- err
	}()
	<-began
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted wait returns %v", err)
	}
	hold.Store(false)
	second := make(chan Compacted, 1)
	go func() {
		did, err := s.Compact(t.Context(), func(int64, int64) {})
		if err != nil {
			t.Error(err)
		}
		second <- did
	}()
	close(goOn)
	if did := <-second; did.Segments != 2 && did.Segments != 0 { // 0: the first had ended before the second call
		t.Errorf("the second call says that %d segments became one", did.Segments)
	}
	if n := len(s.core.Snapshot().Files.Files); n != 1 {
		t.Errorf("%d segments are left", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Compact(t.Context(), func(int64, int64) {}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCompactionSlack: a compaction begins only where an eighth of its size is free beyond what it writes: what is left
// of its file counts as reserve, and without slack the commits beside it would pause indexing.
func TestCompactionSlack(t *testing.T) {
	t.Parallel()
	const bytes = 800 << 20
	var free atomic.Int64
	free.Store(1 << 40)
	s, err := Open(Config{Dir: t.TempDir(), Disk: func(string) (int64, int64, error) { return free.Load(), 1 << 41, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookAtDisk()
	reserve := s.room.reserve.Load()
	for _, tc := range []struct {
		free int64
		want bool
	}{{reserve + bytes, false}, {reserve + bytes*9/8 - 1, false}, {reserve + bytes*9/8, true}} {
		free.Store(tc.free)
		if got := s.missingRoom(bytes) == 0; got != tc.want {
			t.Errorf("with %d bytes free beyond the reserve, there is room for %d: %t", tc.free-reserve, int64(bytes), got)
		}
	}
	s.room.growing.Store(&growingFile{"none", bytes, nil})
	defer s.room.growing.Store(nil)
	inner := &growingFile{"none either", bytes / 64, s.room.growing.Load()} // of a smaller compaction meanwhile
	s.room.growing.Store(inner)
	if got := s.reserved() - reserve; got != bytes+bytes/64 {
		t.Errorf("beside two compactions the reserve grows by %d", got)
	}
	s.room.growing.Store(inner.outer)
	for _, grown := range []int64{0, bytes / 8} { // by commits, while the compaction has written nothing
		free.Store(reserve + bytes*9/8 - grown)
		if s.lookAtDisk(); s.room.paused.Load() {
			t.Errorf("indexing pauses when commits take %d bytes beside a compaction of %d", grown, int64(bytes))
		}
	}
}

// TestCompactLooksAgain: a full compaction is refused for lack of budget only by the present size of the files.
func TestCompactLooksAgain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_770_000_000, 0)
	cfg := Config{Dir: t.TempDir(), Now: func() time.Time { return now },
		Disk: func(string) (int64, int64, error) { return 1 << 40, 1 << 40, nil }}
	var sp Space
	for range 2 { // the first start leaves its migrations in the WAL, for which the reserve has a part
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		sp, err = s.Space(t.Context())
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Budget = disk.Budget{Bytes: sp.Reserve + 4<<20}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sealOne(t, s, 1)
	sealOne(t, s, 2)
	other := filepath.Join(cfg.Dir, "other")
	if err := os.WriteFile(other, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.use.Forget()
	if _, err := s.Compact(t.Context(), func(int64, int64) {}); err == nil ||
		!strings.Contains(err.Error(), "raise --disk") {
		t.Fatalf("without room: %v", err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if did, err := s.Compact(t.Context(), func(int64, int64) {}); err != nil || did.Segments != 2 {
		t.Errorf("with room again: %+v, %v", did, err)
	}
}
