package db_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/link"
)

// oldJobEvents is the history of testdata/jobs-v1.db.gz: accounts of 25 records each that change their status, some
// before the change before has come to its end.
func oldJobEvents() (events []apply.Event) {
	add := func(e apply.Event) {
		e.Seq = uint64(len(events) + 1)
		e.TimeUS = 1_770_000_000_000_000 + int64(e.Seq)*1000
		e.Rev = string(link.AppendTID(nil, uint64(e.TimeUS)<<10))
		events = append(events, e)
	}
	did := func(i int) string { return fmt.Sprintf("did:plc:%024d", i) }
	record := func(account, i int) {
		add(apply.Event{Op: db.OpCreate, DID: did(account), Collection: "app.bsky.feed.like",
			Rkey: fmt.Sprintf("r%02d", i),
			Links: []db.Link{{Path: "subject.uri", Target: fmt.Sprintf("at://%s/app.bsky.feed.post/p%d", did(9),
				i%3)}}})
	}
	status := func(account int, status db.Status) {
		add(apply.Event{Op: db.OpAccount, DID: did(account), Status: status})
	}
	for account := range 6 {
		for i := range 25 {
			record(account, i)
		}
	}
	status(0, db.StatusDeactivated)
	status(1, db.StatusDeactivated)
	status(1, db.StatusActive)
	status(2, db.StatusDeleted)
	status(2, db.StatusActive)
	record(2, 3)
	status(3, db.StatusTakendown)
	status(3, db.StatusDeleted)
	record(3, 4)
	status(4, db.StatusSuspended)
	record(4, 30)
	status(4, db.StatusActive)
	status(4, db.StatusInactive)
	status(5, db.StatusDeleted)
	return events
}

// TestOldLogOfJobs: the log of a weft whose jobs never turned comes to what it came to, the jobs that it left under way
// included.
func TestOldLogOfJobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	packed, err := os.Open("testdata/jobs-v1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked := must(gzip.NewReader(packed))
	if err := os.WriteFile(filepath.Join(dir, "weft.db"), must(io.ReadAll(unpacked)), 0o644); err != nil {
		t.Fatal(err)
	}
	var steps int
	if err := openSQL(t, dir).QueryRow("SELECT count(*) FROM records WHERE op = 8").Scan(&steps); err != nil ||
		steps < 20 {
		t.Fatalf("the log has %d steps of jobs: %v", steps, err)
	}
	var m dbtest.Model
	for _, e := range oldJobEvents() {
		m.Apply(e)
	}
	s := openWith(t, db.Config{Dir: dir, JobRecords: 4, JobRest: -1})
	untilNoJobs(t, s)
	if err := m.Compare(t.Context(), s, dbtest.Depth{Page: 7, Many: true}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := check.Run(t.Context(), dir, check.Options{All: true}); err != nil || r.Total > 0 {
		t.Errorf("checked: %v, %+v", err, r)
	}
}
