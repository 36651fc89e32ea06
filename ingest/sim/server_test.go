package sim

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/bluesky-social/jetstream"
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

// follow reads events with the official client up to the seq until, or until stop returns true. The result doesn't
// share memory with the client's batches.
func follow(t testing.TB, url string, until uint64, opts ...jetstream.Option) (events []Event, errs []error) {
	t.Helper()
	opts = append([]jetstream.Option{
		jetstream.WithAfterSeq(0), jetstream.WithRawRecordsCopied(), jetstream.WithRawRecordCIDs(),
		jetstream.WithRawRecords(),
		jetstream.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
	}, opts...)
	c, err := jetstream.Subscribe(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for b, err := range c.Events(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range b.Events() {
			events = append(events, fromClient(e))
		}
		if b.LastCursor() >= until {
			return events, errs
		}
	}
	t.Fatalf("stream ended at %d of %d events, errors %v", len(events), until, errs)
	return nil, nil
}

func fromClient(e jetstream.Event) Event {
	out := Event{Seq: e.Seq, TimeUS: e.TimeUS, Kind: Kind(e.Kind), DID: e.DID}
	switch {
	case e.Commit != nil:
		out.Rev, out.Collection, out.Rkey = e.Commit.Rev, e.Commit.Collection, e.Commit.Rkey
		out.Operation, out.CID = string(e.Commit.Operation), e.Commit.CID
		out.CBOR = bytes.Clone(e.Commit.RecordCBOR)
	case e.Account != nil:
		out.Active, out.Status = e.Account.Active, e.Account.Status
	case e.Identity != nil:
		out.Handle = e.Identity.Handle
	case e.Sync != nil:
		out.Rev = e.Sync.Rev
	}
	return out
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

// TestOfficialClientReplaysAndFollows tests all of v2: archive, cutover, live tail across segment borders.
func TestOfficialClientReplaysAndFollows(t *testing.T) {
	t.Parallel()
	for _, zstd := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "zstd"}[zstd], func(t *testing.T) {
			t.Parallel()
			nc := NetworkConfig{Seed: 3, Accounts: 500, Churn: 5}
			s := testServer(t, ServerConfig{NetworkConfig: nc, Backlog: 10_000, EventsPerSegment: 1_000})
			s.Emit(500)
			go func() {
				for range 20 {
					s.Emit(100)
					time.Sleep(5 * time.Millisecond)
				}
			}()
			got, errs := follow(t, s.URL(), 12_500, jetstream.WithZstdCompression(zstd))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			expectSame(t, got, NewNetwork(nc).Events(12_500))
		})
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
