package db

import (
	"fmt"
	"testing"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// TestReplayOfSteps: a replay makes runs of what rows change, however few rows do it: a row of a change of status may
// change as much as a thousand others, and hundreds of them lie side by side in the log of an account that flaps.
func TestReplayOfSteps(t *testing.T) {
	t.Parallel()
	const did, records, links, flaps = "did:plc:aaaabbbbccccddddeeeeffff", 1000, 20, 24
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var events []apply.Event
	event := func(e apply.Event) {
		e.Seq = uint64(len(events) + 1)
		e.DID, e.TimeUS = did, 1_770_000_000_000_000+int64(e.Seq)
		e.Rev = string(link.AppendTID(nil, uint64(e.TimeUS)<<10))
		events = append(events, e)
	}
	for i := range records {
		e := apply.Event{Op: OpCreate, Collection: "com.example.list", Rkey: fmt.Sprint("r", i)}
		for j := range links {
			e.Links = append(e.Links, Link{Path: "l", Target: fmt.Sprintf("https://example.com/%d", j)})
		}
		event(e)
	}
	for i := range flaps {
		event(apply.Event{Op: OpAccount, Status: []Status{StatusDeactivated, StatusActive}[i%2]})
	}
	for i, e := range events {
		if i >= records { // a batch each, so that none leaves it to a job
			_, err = s.Apply(Batch{Host: "h", Events: []apply.Event{e}})
		} else if i == 0 {
			_, err = s.Apply(Batch{Host: "h", Events: events[:records]})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	end := s.core.Snapshot().Seq
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if end != uint64(len(events)) {
		t.Fatalf("%d log rows of %d events: a job has a row for each step", end, len(events))
	}
	f, err := OpenFollower(FollowerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runs := 0
	if err := f.core.InReadTx(t.Context(), func(q logrow.Queryer) error {
		_, err := f.state.Rebuild(t.Context(), q, f.core.Base(nil), func(v *index.Snapshot) (*index.Snapshot, error) {
			if v.Seq > records {
				runs++
			}
			return v, nil
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Each row changes some 20,000 links of 150 bytes or so. An entry takes 100 bytes and more beside its key.
	const entryBytes = 100
	if least := flaps * records * links * entryBytes / apply.CommitBytes; least < 2 || runs < least {
		t.Errorf("%d changes of status were made %d runs of, want %d at least", flaps, runs, least)
	}
}
