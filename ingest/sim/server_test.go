package sim

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"
)

// testServer starts a server that runs until the test ends.
func testServer(t testing.TB, cfg ServerConfig) *Server {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// same compares events by the fields that a consumer sees.
func same(a, b Event) bool {
	return a.Seq == b.Seq && a.TimeUS == b.TimeUS && a.Kind == b.Kind && a.DID == b.DID && a.Rev == b.Rev &&
		a.Collection == b.Collection && a.Rkey == b.Rkey && a.Operation == b.Operation && a.CID == b.CID &&
		bytes.Equal(a.CBOR, b.CBOR) && a.Active == b.Active && a.Status == b.Status && a.Handle == b.Handle
}

func expectSame(t *testing.T, got, want []Event) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !same(got[i], want[i]) {
			t.Fatalf("event %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
}

func TestRunEmitsAtItsRate(t *testing.T) {
	t.Parallel()
	before := time.Now()
	s := testServer(t, ServerConfig{Backlog: 500, Rate: 20_000, Total: 2000, EventsPerSegment: 600, WallClock: true})
	dial(t, s, xrpc+"subscribeEvents?cursor=2000") // a reader at the tip during seals
	for s.Tip() < 2000 {
		if time.Since(before) > 10*time.Second {
			t.Fatalf("tip %d", s.Tip())
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.Emit(100) // reaches Total
	got := logged(t, s)
	if len(got) != 2000 || s.Sealed() < 1700 {
		t.Fatalf("%d events, sealed to %d", len(got), s.Sealed())
	}
	first, last := time.UnixMicro(got[0].TimeUS), time.UnixMicro(got[1999].TimeUS)
	if d := last.Sub(before); d < 0 || d > 15*time.Second || before.Sub(first) > 3*time.Second {
		t.Errorf("events from %s to %s, clock at %s", first, last, before)
	}
}

// TestOldEventsLeaveMemory: old sealed events leave memory, and subscribers read them from segments.
func TestOldEventsLeaveMemory(t *testing.T) {
	t.Parallel()
	nc := NetworkConfig{Seed: 4}
	s := testServer(t, ServerConfig{NetworkConfig: nc, EventsPerSegment: 5000})
	s.Emit(22_000)
	if n := len(s.log.hot); n < hotEvents || n > hotEvents+5000 {
		t.Errorf("%d events in memory, want %d and what isn't sealed", n, hotEvents)
	}
	expectSame(t, logged(t, s), NewNetwork(nc).Events(22_000))
	for _, us := range []int64{0, 1, 9_999, 5_000_000, 54_000_000} {
		at := defaultStart + us
		seq, err := s.log.seqAt(at)
		if err != nil {
			t.Fatal(err)
		}
		all := logged(t, s)
		for i, e := range all {
			if e.TimeUS >= at {
				if e.Seq != seq {
					t.Errorf("first event at %d is %d, got %d", at, all[i].Seq, seq)
				}
				break
			}
		}
	}
}

func TestCloseWithoutRun(t *testing.T) {
	t.Parallel()
	s, err := NewServer(ServerConfig{Backlog: 10})
	if err != nil {
		t.Fatal(err)
	}
	dir := s.dir
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("temporary directory: %v", err)
	}
	s.Emit(5) // does nothing
	if err := s.Run(context.Background()); err != nil {
		t.Error(err)
	}
}
