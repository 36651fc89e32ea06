package db_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// TestPruneDuringPause: while indexing is paused for lack of room, the log's window is pruned on, because its rows may
// be what fills the disk. When less than half of the reserve is free, pruning waits too: it writes the WAL. It goes on
// by itself when there is room for it.
func TestPruneDuringPause(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		parts  int64 // sixteenths of the reserve that are free
		pruned bool
	}{
		{"half of the reserve", 9, true},
		{"less than half of the reserve", 7, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &given{}
				g.total.Store(1 << 40)
				g.free.Store(1 << 39)
				s := openWith(t, db.Config{Dir: t.TempDir(), ReplayWindow: 15 * time.Minute, Disk: g.space})
				seq := uint64(0)
				event := func() db.Batch {
					seq++
					return db.Batch{Host: "test", Events: []apply.Event{{Seq: seq, TimeUS: time.Now().UnixMicro(), Op: db.OpCreate,
						DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Rev: string(link.AppendTID(nil, seq<<10)),
						Collection: "app.bsky.feed.like", Rkey: fmt.Sprint("k", seq),
						Links: []db.Link{{Path: "subject", Target: "https://example.com/"}}}}}
				}
				for range 20 {
					if _, err := s.Apply(event()); err != nil {
						t.Fatal(err)
					}
				}
				sp, err := s.Space(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				g.free.Store(sp.Reserve * tc.parts / 16)
				pass(2 * time.Second)
				if s.Paused() == "" {
					t.Fatal("indexing is not paused")
				}
				pass(20 * time.Minute)
				oldest, newest := must2(s.LogRange(t.Context()))
				if pruned := oldest == newest; pruned != tc.pruned {
					t.Errorf("rows %d to %d are left after a pause of 20 minutes", oldest, newest)
				}
				if s.Paused() == "" {
					t.Error("the pause ended without room")
				}
				g.free.Store(1 << 39)
				pass(3 * time.Minute)
				if oldest, newest := must2(s.LogRange(t.Context())); oldest != newest || s.Paused() != "" {
					t.Errorf("with room, rows %d to %d are left; %q", oldest, newest, s.Paused())
				}
				if _, err := s.Apply(event()); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
