//go:build officialclient

package sim

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/jetstream"
)

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

// TestFilteredReplay: plans omit no matching event, in pages of few units, and the client filters the rest.
func TestFilteredReplay(t *testing.T) {
	t.Parallel()
	nc := NetworkConfig{Seed: 61, Accounts: 2000, Churn: 2}
	const total = 60_000
	all := NewNetwork(nc).Events(total)
	s := testServer(t, ServerConfig{NetworkConfig: nc, Backlog: 50_000, EventsPerSegment: 12_000, PlanEntries: 2})
	s.Emit(total - 50_000)
	last := all[total-1].DID
	tests := map[string]struct {
		opts []jetstream.Option
		keep func(Event) bool
	}{
		"collection": {
			[]jetstream.Option{jetstream.WithCollections([]string{"pub.leaflet.document", "sh.tangled.*"})},
			func(e Event) bool {
				return e.Kind != KindCommit || e.Collection == "pub.leaflet.document" ||
					strings.HasPrefix(e.Collection, "sh.tangled.")
			},
		},
		"dids": {
			[]jetstream.Option{jetstream.WithDIDs([]string{last, all[0].DID})},
			func(e Event) bool { return e.DID == last || e.DID == all[0].DID },
		},
		"kinds": {
			[]jetstream.Option{jetstream.WithKinds([]jetstream.Kind{jetstream.KindAccount, jetstream.KindSync})},
			func(e Event) bool { return e.Kind == KindAccount || e.Kind == KindSync },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var want []Event
			for _, e := range all {
				if tt.keep(e) {
					want = append(want, e)
				}
			}
			got, errs := follow(t, s.URL(), want[len(want)-1].Seq, tt.opts...)
			if len(errs) > 0 {
				t.Error(errs)
			}
			expectSame(t, got, want)
		})
	}
}

// TestClientSurvives: with these faults the official client still gets every event once and in order.
func TestClientSurvives(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		faults Faults
		errs   bool // the client reports errors
	}{
		"none":      {},
		"drop":      {Faults{DropEvery: 900}, true},
		"truncate":  {Faults{TruncateEvery: 900, Seed: 1}, true},
		"duplicate": {Faults{DuplicateEvery: 10}, false},
		"garbage":   {Faults{GarbageEvery: 10}, true},
		"unknown":   {Faults{UnknownEvery: 10}, false},
		"error":     {Faults{ErrorEvery: 900}, true},
		"refuse":    {Faults{DropEvery: 900, RefuseEvery: 2}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := NetworkConfig{Seed: 31, Accounts: 300}
			s := testServer(t, ServerConfig{NetworkConfig: nc, Backlog: 1000, Faults: tt.faults})
			s.Emit(2000)
			got, errs := follow(t, s.URL(), 3000)
			expectSame(t, got, NewNetwork(nc).Events(3000))
			if (len(errs) > 0) != tt.errs {
				t.Errorf("errors %v", errs)
			}
		})
	}
}

// TestCorruptBlockIsAHole: the official client reports a corrupt block once and continues after it.
func TestCorruptBlockIsAHole(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{Backlog: 3000, EventsPerSegment: 1000})
	s.CorruptBlock(1, 0)
	got, errs := follow(t, s.URL(), 3000)
	if len(got) != 2000 || len(errs) == 0 {
		t.Fatalf("%d events, errors %v", len(got), errs)
	}
	s.HealBlocks()
	if got, errs = follow(t, s.URL(), 3000); len(got) != 3000 || len(errs) != 0 {
		t.Fatalf("healed: %d events, errors %v", len(got), errs)
	}
}

// BenchmarkOfficialClient measures the live tail with the official client, which decodes; both share the machine.
func BenchmarkOfficialClient(b *testing.B) {
	s := testServer(b, ServerConfig{EventsPerSegment: 1 << 30})
	s.Emit(b.N)
	c, err := jetstream.Subscribe(s.URL(), jetstream.WithAfterSeq(0), jetstream.WithRawRecords())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b.ResetTimer()
	for batch, err := range c.Events(ctx) {
		if err != nil {
			b.Fatal(err)
		}
		if batch.LastCursor() >= uint64(b.N) {
			break
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
