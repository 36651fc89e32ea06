package db_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestFollowerReopensDuringJob: a follower that has replayed some steps of a job and then gets a segment from before
// the job replays all steps again, and gives the writer's answers.
func TestFollowerReopensDuringJob(t *testing.T) {
	t.Parallel()
	const records, did = 40, "did:web:a.example"
	seal := make(chan struct{}) // closed: the segment may be written
	letSeal := sync.OnceFunc(func() { close(seal) })
	defer letSeal()
	steps := 0
	var f *db.Follower
	cfg := db.Config{Dir: t.TempDir(), SealBytes: 1, JobRecords: 5, JobRest: -1}
	cfg.Failpoint = func(name string) error {
		switch name {
		case "written":
			<-seal
		case "job":
			steps++
			if steps != 4 {
				return nil
			}
			before := f.Seq()
			_, _, err := f.Refresh(t.Context())
			if err != nil || f.Seq() != before+4 { // the change of status and three steps
				t.Errorf("during the job: %v, from log row %d to %d", err, before, f.Seq())
			}
		}
		return nil
	}
	s := openWith(t, cfg)
	defer func() {
		letSeal()
		_ = s.Close()
	}()
	s.Hurry() // no commit waits for the seal
	now := time.Unix(1_770_000_000, 0)
	var events []apply.Event
	for i := range records {
		events = append(events, likeAt(uint64(i+1), did, now.Add(time.Duration(i)*time.Millisecond)))
	}
	commit := func(events ...apply.Event) {
		t.Helper()
		if _, err := s.Apply(db.Batch{Host: "a", Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	commit(events...)
	f = follow(t, db.FollowerConfig{Dir: cfg.Dir})
	source := db.Source{Collection: "app.bsky.feed.like", Path: "subject"}
	wait := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	count := func(of interface {
		CountLinks(context.Context, string, db.Source) (int64, error)
	}) int64 {
		t.Helper()
		n, err := of.CountLinks(t.Context(), "https://example.com/", source)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(f); n != records {
		t.Fatalf("the follower counts %d links of %d", n, records)
	}
	commit(apply.Event{Seq: records + 1, TimeUS: now.Add(time.Second).UnixMicro(), Op: db.OpAccount, DID: did,
		Status: db.StatusDeactivated})
	wait("the job doesn't end", func() bool { return count(s) == 0 })
	letSeal()
	wait("nothing is sealed", func() bool { return len(s.SegmentPaths()) == 1 })
	refresh(t, f)
	if n := count(f); n != 0 || f.Seq() != s.Seq() {
		t.Errorf("the follower counts %d links of an account that is not active, at log row %d of %d", n, f.Seq(), s.Seq())
	}
}
