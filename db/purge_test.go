package db

import (
	"fmt"
	"testing"

	"weft.dev/weft/db/apply"
)

// TestPurgeInSteps: the purge of an account of many records commits in parts of JobRecords, and removes what it should.
func TestPurgeInSteps(t *testing.T) {
	t.Parallel()
	const records = 57
	cfg := Config{Dir: t.TempDir(), JobRecords: 5, JobRest: -1}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var events []apply.Event
	for i := range records {
		events = append(events, apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000 + int64(i), Op: OpCreate,
			DID:        "did:web:a.example",
			Collection: "a.b.c", Rkey: fmt.Sprintf("r%03d", i), Rev: "3mdtsyunhbu22",
			Links: []Link{{Path: "x", Target: "https://stays.example/"}, {Path: "y", Target: "https://goes.example/"}}})
		if i%3 == 0 {
			events[i].Links = events[i].Links[1:] // nothing of it stays
		}
	}
	if _, err := s.Apply(Batch{Host: "https://up.example", Events: events}); err != nil {
		t.Fatal(err)
	}
	commits := 0
	p := s.newPurge(func(did string, source Source, target string) bool { return target == "https://stays.example/" })
	for {
		before := p.Removed
		more, err := s.purgeStep(p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Removed-before > cfg.JobRecords {
			t.Errorf("%d records in a transaction", p.Removed-before)
		}
		if !more {
			break
		}
		commits++
	}
	st, err := s.Stats(t.Context())
	if err != nil || p.Removed != records || st.Links != records*2/3 || st.Records != records*2/3 ||
		commits < records/cfg.JobRecords {
		t.Errorf("%d links removed in %d transactions, %+v, %v", p.Removed, commits, st, err)
	}
}
