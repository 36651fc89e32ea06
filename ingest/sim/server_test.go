package sim

import (
	"bytes"
	"context"
	"io"
	"log/slog"
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

// follow reads events with the official client until it has seen the seq until, or stop says so. What it gives outlives
// the client's batches.
func follow(t testing.TB, url string, until uint64, opts ...jetstream.Option) (events []Event, errs []error) {
	t.Helper()
	opts = append([]jetstream.Option{
		jetstream.WithAfterSeq(0), jetstream.WithRawRecordsCopied(), jetstream.WithRawRecordCIDs(), jetstream.WithRawRecords(),
		jetstream.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
	}, opts...)
	c, err := jetstream.Subscribe(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
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

// same compares events as a consumer sees them.
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

func take(n *Network, k int) []Event {
	out := make([]Event, k)
	for i := range out {
		out[i] = n.Next()
	}
	return out
}

// TestOfficialClientReplaysAndFollows is the whole v2 side: archive, cutover, live tail across segment borders.
func TestOfficialClientReplaysAndFollows(t *testing.T) {
	t.Parallel()
	for _, zstd := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "zstd"}[zstd], func(t *testing.T) {
			t.Parallel()
			nc := NetworkConfig{Seed: 3, Accounts: 500, Churn: 5}
			s := testServer(t, ServerConfig{NetworkConfig: nc, Backlog: 12_000, EventsPerSegment: 3_000})
			s.Emit(1000)
			go func() {
				for range 20 {
					s.Emit(250)
					time.Sleep(5 * time.Millisecond)
				}
			}()
			got, errs := follow(t, s.URL(), 18_000, jetstream.WithZstdCompression(zstd))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			expectSame(t, got, take(NewNetwork(nc), 18_000))
		})
	}
}
