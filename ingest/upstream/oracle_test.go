//go:build officialclient

package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/jetstream"
	"github.com/bluesky-social/jetstream/segment"

	"weft.dev/weft/ingest/sim"
)

// lines are events as comparable text.
type lines []string

func (l *lines) add(e *Event) {
	record := "-"
	if e.CBOR != nil {
		record = fmt.Sprintf("%x", sha256.Sum256(e.CBOR))
	}
	*l = append(*l, fmt.Sprintln(e.Pos, e.TimeUS, e.DID, e.Op, e.Collection, e.Rkey, e.Rev, record, e.Status))
}

// official returns the events of the official client, up to a sequence number.
func official(t *testing.T, url string, tip uint64, opts ...jetstream.Option) (out lines) {
	client, err := jetstream.Subscribe(url, append(opts, jetstream.WithAfterSeq(0), jetstream.WithRawRecords())...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for b, err := range client.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, je := range b.Events() {
			e := Event{Pos: je.Seq, TimeUS: je.TimeUS, DID: strings.Clone(je.DID)}
			row := commit{}
			switch {
			case je.Commit != nil:
				row = commit{rev: je.Commit.Rev, operation: string(je.Commit.Operation), collection: je.Commit.Collection,
					rkey: je.Commit.Rkey}
				if err := e.setCommit(&row); err != nil {
					t.Fatal(err)
				}
				e.CBOR = je.Commit.RecordCBOR
			case je.Account != nil:
				e.Op, e.Status = 4, (&account{je.Account.Active, je.Account.Status}).known()
			case je.Sync != nil:
				e.Op, e.Rev = 5, je.Sync.Rev
			}
			out.add(&e)
		}
		if b.LastCursor() >= tip {
			return out
		}
	}
	return out
}

// TestOfficialClientAgrees: the archive's reader gives the same events as the official client, for the whole network
// and for filters whose plans name single blocks, in pages.
func TestOfficialClientAgrees(t *testing.T) {
	t.Parallel()
	server, err := sim.NewServer(sim.ServerConfig{Backlog: 60_000, EventsPerSegment: 25_000, PlanEntries: 2,
		NetworkConfig: sim.NetworkConfig{Accounts: 2000, Churn: 5}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() { cancel(); <-done }()
	tip := server.Tip()
	var someone string
	if err := server.Replay(1, func(e sim.Event) error { someone = e.DID; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		filter Filter
		keeps  func(e *Event) bool
		opts   []jetstream.Option
	}{
		{"whole", Filter{}, func(*Event) bool { return true }, nil},
		{"collections", Filter{Collections: []string{"app.bsky.graph.*", "app.bsky.actor.profile"}},
			func(e *Event) bool {
				return e.Collection == "" || e.Collection == "app.bsky.actor.profile" ||
					strings.HasPrefix(e.Collection, "app.bsky.graph.")
			},
			[]jetstream.Option{jetstream.WithCollections([]string{"app.bsky.graph.*", "app.bsky.actor.profile"})}},
		{"an account", Filter{DIDs: []string{someone}}, func(e *Event) bool { return e.DID == someone },
			[]jetstream.Option{jetstream.WithDID(someone)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			var got lines
			a := &Archive{Endpoint: Endpoint{URL: server.URL()}, Filter: tc.filter}
			through, err := Read(ctx, a, 0, 0, func(_ context.Context, _ int, b *Block, emit func(lines) error) error {
				var l lines
				var e Event
				err := b.Rows(func(r *segment.Event) error {
					if err := e.ReadRow(r); err != nil {
						return err
					}
					if tc.keeps(&e) {
						l.add(&e)
					}
					return nil
				})
				return errors.Join(err, emit(l))
			}, func(d *Decoded[lines]) error {
				err := d.Each(ctx, func(l lines) error {
					got = append(got, l...)
					return nil
				})
				return errors.Join(err, d.Err, d.Broken)
			})
			if err != nil || through != tip {
				t.Fatalf("read to %d of %d: %v", through, tip, err)
			}
			last := tip
			if len(got) > 0 {
				fmt.Sscan(got[len(got)-1], &last)
			}
			want := official(t, server.URL(), last, tc.opts...)
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("event %d of %d and %d differs:\n%q\n%q", i, len(got), len(want), append(got, "")[min(i, len(got))],
						append(want, "")[min(i, len(want))])
				}
			}
		})
	}
}
