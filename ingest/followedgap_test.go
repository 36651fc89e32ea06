package ingest_test

import (
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// TestFollowedIsNoGap: the gap of events that a server no longer has begins where the stream was last followed, and
// ends at the server's oldest event.
func TestFollowedIsNoGap(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		followed time.Duration // before now
		gap      bool
	}{
		{"followed until now", 0, false},
		{"followed until after the oldest event", 20 * time.Hour, false},
		{"followed until before it", 30 * time.Hour, true},
		{"not noted", 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			kinds(t, func(t *testing.T, v2 bool) {
				now := time.Now()
				server := newStream(t, &stream{v2: v2})
				store := openStore(t, t.TempDir())
				defer store.Close()
				old := now.Add(-40 * time.Hour)
				server.send(1, old)
				server.send(2, now.Add(-25*time.Hour))
				floor := now.Add(-24 * time.Hour)
				server.send(2, floor)
				server.send(2, now.Add(-time.Hour))
				kind, seq := "v1", uint64(old.UnixMicro())
				if v2 {
					kind, seq = "v2", 100
				}
				if _, err := store.Apply(db.Batch{Host: server.URL, Kind: kind, Seq: seq, TimeUS: old.UnixMicro()}); err != nil {
					t.Fatal(err)
				}
				until := now.Add(-tc.followed)
				if tc.name != "not noted" {
					if err := store.SetFollowed(server.URL, kind, db.Followed{UntilUS: until.UnixMicro()}); err != nil {
						t.Fatal(err)
					}
				}
				server.forget(2)
				f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store, Slice: sliceOf(t, 1),
					Silence: 10 * short,
					Rewind:  1})
				defer f.stop()
				untilReady(t, f)
				gaps := gapsOf(t, store)
				if !tc.gap {
					if len(gaps) > 0 {
						t.Errorf("gaps: %+v", gaps)
					}
					return
				}
				if len(gaps) != 1 {
					t.Fatalf("gaps: %+v", gaps)
				}
				g := gaps[0]
				to, fromUS := uint64(floor.UnixMicro()-1), old.UnixMicro()
				if v2 {
					to = 101
				}
				if tc.followed > 0 {
					fromUS = until.Add(-5 * time.Minute).UnixMicro() // less the tolerance of the clocks
				}
				if g.To != to || g.ToUS != floor.UnixMicro() || g.FromUS != fromUS {
					t.Errorf("the gap is %+v, want it from time %d to %d", g, fromUS, to)
				}
			})
		})
	}
}

func untilReady(t *testing.T, f *follower) {
	t.Helper()
	until(t, "it is ready", func() bool { return f.Ready() == nil })
}

// TestFollowedIsNoted: the followed time of a quiet stream is stored, and once more at the end.
func TestFollowedIsNoted(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		server := newStream(t, &stream{})
		server.send(1, time.Now())
		store := openStore(t, t.TempDir())
		defer store.Close()
		begun := time.Now().UnixMicro()
		f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL}}, Store: store,
			From:  ingest.From{Start: true},
			Slice: sliceOf(t, 1), Silence: short})
		until(t, "the event is there", func() bool { return links(t, store) == 1 })
		until(t, "it is noted", func() bool { return store.Followed(server.URL).UntilUS > begun+(10*short).Microseconds() })
		noted := store.Followed(server.URL).UntilUS
		_, _, pings := server.counts()
		until(t, "it is followed for longer", func() bool { _, _, n := server.counts(); return n > pings+4 })
		f.stop()
		if until := store.Followed(server.URL).UntilUS; until <= noted || until > time.Now().UnixMicro() {
			t.Errorf("it is noted until %d, and was until %d", until, noted)
		}
	})
}
