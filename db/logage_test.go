package db_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// TestLogAge: a row of the log is said to be no older than it is, and hardly younger, also after a restart.
func TestLogAge(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_800_000_000)
	cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) }}
	s := openWith(t, cfg)
	var at []int64 // when each row was committed
	for i := range 200 {
		if i == 100 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openWith(t, cfg)
		}
		clock.Add(47)
		e := apply.Event{Seq: uint64(i + 1), TimeUS: clock.Load() * 1_000_000, Op: db.OpCreate, DID: "did:plc:alice",
			Collection: "app.bsky.feed.like",
			Rkey:       fmt.Sprint("k", i), Rev: string(link.AppendTID(nil, uint64(clock.Load())*1_000_000<<10)),
			Links: []db.Link{{Path: "subject.uri", Target: "did:plc:bob"}}}
		if _, err := s.Apply(db.Batch{Host: "upstream.example", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
		at = append(at, clock.Load())
	}
	if s.Seq() != 200 {
		t.Fatalf("%d rows", s.Seq())
	}
	for i, committed := range at {
		age, err := s.LogAge(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		is := time.Duration(clock.Load()-committed) * time.Second
		if age > is || age < is-5*time.Minute {
			t.Errorf("row %d is %s old, not %s", i+1, age, is)
		}
	}
	for seq, want := range map[uint64]bool{0: true, 201: false} {
		if age, err := s.LogAge(t.Context(), seq); err != nil || (age > 100*365*24*time.Hour) != want {
			t.Errorf("row %d is %s old, %v", seq, age, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
