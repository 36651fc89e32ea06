package db

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/disk"
)

// TestPacerCounts: while a batch or a filled gap commits in parts, background work rests, and not after it.
func TestPacerCounts(t *testing.T) {
	t.Parallel()
	const records = 57
	var pacer disk.Pacer
	s, err := Open(Config{Dir: t.TempDir(), JobRecords: 5, JobRest: -1, Pacer: &pacer})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	create := func(i int) apply.Event {
		return apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000 + int64(i), Op: OpCreate,
			DID: "did:web:a.example", Collection: "a.b.c", Rkey: fmt.Sprintf("r%03d", i), Rev: "3mdtsyunhbu22",
			Links: []Link{{Path: "x", Target: "https://a.example/"}}}
	}
	var events []apply.Event
	for i := range records {
		events = append(events, create(i))
	}
	resting := func() bool {
		begun := time.Now()
		pacer.Rest(5 * time.Millisecond)
		return time.Since(begun) >= 25*time.Millisecond
	}
	for _, step := range []struct {
		name string
		do   func() error
		left int64
	}{
		{"a batch", func() error {
			_, err := s.Apply(Batch{Host: "https://up.example", Events: events})
			return err
		}, records},
		{"a repository that has lost its records", func() error {
			_, err := s.Fill(nil, []Repo{{DID: "did:web:a.example"}})
			return err
		}, 0},
	} {
		parts := s.Seq()
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		st, err := s.Stats(t.Context())
		if err != nil || st.Records != step.left || s.Seq() == parts {
			t.Errorf("%s: %+v, %v", step.name, st, err)
		}
		if resting() {
			t.Errorf("%s: background work waits for a commit that has ended", step.name)
		}
	}
}

// TestStepsRest: the pruning rests for as long as its step took by the store's clock of steps, and at least pruneRest.
// A store that closes ends the rest.
func TestStepsRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Unix(1_770_000_000, 0)
		s := &Store{closed: make(chan struct{}), now: func() time.Time { return now }}
		for took, want := range map[time.Duration]time.Duration{3 * time.Minute: 3 * time.Minute, 0: pruneRest} {
			began := s.now()
			now = now.Add(took)
			start := time.Now()
			if !s.restSince(began) || time.Since(start) != want {
				t.Errorf("after a step of %s it rests for %s, want %s", took, time.Since(start), want)
			}
		}
		close(s.closed)
		if s.restSince(now.Add(-time.Hour)) {
			t.Error("a closed store goes on")
		}
	})
}
