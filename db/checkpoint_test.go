package db

import (
	"bytes"
	"database/sql"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db/checkpoint"
)

func rule(t *testing.T, text string) checkpoint.Rule {
	t.Helper()
	r, err := checkpoint.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEvery: the ticker goes on by itself, and ends.
func TestEvery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var times atomic.Int64
		closed := make(chan struct{})
		var workers sync.WaitGroup
		workers.Go(func() { tick(time.Second, closed, func() { times.Add(1) }) })
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if times.Load() != 10 {
			t.Errorf("%d times in 10 seconds", times.Load())
		}
		close(closed)
		workers.Wait()
	})
}

// clocked is a store whose time is the test's, and which ticks when the test says so.
func clocked(t *testing.T, text string) (s *Store, clock *atomic.Int64, logs *bytes.Buffer) {
	t.Helper()
	clock, logs = &atomic.Int64{}, &bytes.Buffer{}
	clock.Store(1_770_000_000)
	s, err := Open(Config{Dir: t.TempDir(), Checkpoint: rule(t, text),
		Now:    func() time.Time { return time.Unix(clock.Load(), 0) },
		Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, clock, logs
}

func applyAt(t *testing.T, s *Store, seq uint64) {
	t.Helper()
	if _, err := s.Apply(Batch{Host: "test", Seq: seq, TimeUS: 1}); err != nil {
		t.Fatal(err)
	}
}

// TestCheckpointWithoutBatches: a rule about time holds when nothing comes, and an empty WAL is left alone.
func TestCheckpointWithoutBatches(t *testing.T) {
	t.Parallel()
	s, clock, logs := clocked(t, "5m | 20000 frames")
	s.tickCheckpoint() // of the migrations' frames
	applyAt(t, s, 1)
	if st := s.CheckpointStats(); st.Complete != 0 || st.WALBytes == 0 {
		t.Errorf("before it is due: %+v", st)
	}
	clock.Add(300)
	s.tickCheckpoint()
	st := s.CheckpointStats()
	if st.Complete != 1 || st.Frames == 0 || st.WALBytes != 0 || st.Partial+st.Failed != 0 {
		t.Errorf("when it is due: %+v", st)
	}
	if st.Frames*checkpoint.FrameBytes != s.WALBytes() {
		t.Errorf("%d frames were moved and %d bytes written", st.Frames, s.WALBytes())
	}
	clock.Add(3000)
	s.tickCheckpoint()
	if again := s.CheckpointStats(); again != st {
		t.Errorf("with an empty WAL: %+v", again)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(logs.String(), `level=DEBUG msg="checkpoint complete" busy=false frames=`) {
		t.Errorf("logged: %s", logs)
	}
}

// TestCheckpointPutOff: while a reader holds the WAL a checkpoint moves what it can and isn't tried at each commit.
func TestCheckpointPutOff(t *testing.T) {
	t.Parallel()
	s, clock, logs := clocked(t, "1 frames")
	seq := uint64(1)
	applyAt(t, s, seq)
	before := s.CheckpointStats()
	if before.Complete == 0 || before.WALBytes != 0 {
		t.Fatalf("with nobody in the way: %+v", before)
	}
	other, err := sql.Open("sqlite", "file:"+filepath.Join(s.cfg.Dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM upstream").Scan(&n); err != nil {
		t.Fatal(err)
	}
	for second, want := range []int64{1, 2, 2, 3, 3, 3, 3, 4, 4} { // it is tried again after 1, 2 and 4 seconds
		for range 3 {
			seq++
			applyAt(t, s, seq)
		}
		if st := s.CheckpointStats(); st.Partial != want || st.Complete != before.Complete || st.WALBytes == 0 {
			t.Errorf("after %d s with a reader: %+v", second, st)
		}
		clock.Add(1)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	clock.Add(60)
	s.tickCheckpoint()
	st := s.CheckpointStats()
	if st.Complete != before.Complete+1 || st.WALBytes != 0 || st.Frames*checkpoint.FrameBytes != s.WALBytes() {
		t.Errorf("after it: %+v, of %d bytes", st, s.WALBytes())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(logs.String(), `level=INFO msg="checkpoint postponed" busy=true frames=`) {
		t.Errorf("logged: %s", logs)
	}
}

// TestCheckpointOff: with off the WAL is somebody else's, and is emptied only when that is asked for.
func TestCheckpointOff(t *testing.T) {
	t.Parallel()
	s, clock, _ := clocked(t, "off")
	for seq := range uint64(100) {
		applyAt(t, s, seq+1)
		clock.Add(3600)
	}
	s.tickCheckpoint()
	if st := s.CheckpointStats(); st.Complete+st.Partial+st.Failed != 0 || st.WALBytes < s.WALBytes() {
		t.Errorf("%+v, of %d bytes", st, s.WALBytes())
	}
	var page int64
	if err := s.core.Reader.Get(&page, "PRAGMA page_size"); err != nil || page+24 != checkpoint.FrameBytes {
		t.Errorf("pages of %d bytes (%v)", page, err)
	}
	if err := s.Checkpoint(); err != nil {
		t.Error(err)
	}
}
