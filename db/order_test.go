package db_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// TestFrozenOutlivesMerge holds a merge of segments until runs are frozen for the next seal, and that seal until the
// merge is in its place and more batches have come: what is frozen is neither lost nor merged with what came after.
func TestFrozenOutlivesMerge(t *testing.T) {
	t.Parallel()
	events, err := truth.Events(sim.NetworkConfig{Accounts: 200, Churn: 5, Seed: 8}, 6000/fraction(3))
	if err != nil {
		t.Fatal(err)
	}
	// the ninth segment to be begun is the merge of the first eight, and the tenth is the seal
	const merge, seal = 9, 10
	var clock, begun, entered atomic.Int64
	merging, sealing, merged, release := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	hold := func(until chan struct{}) error {
		select {
		case <-until:
			return nil
		case <-t.Context().Done():
			return errors.New("the test has ended")
		case <-time.After(time.Minute): // else Apply, which the test waits for, may wait for this
			return errors.New("it is held for a minute")
		}
	}
	cfg := small(t.TempDir(), &clock)
	cfg.SealBytes = 20 << 10 / fraction(3)
	cfg.Failpoint = func(name string) error {
		switch name {
		case "created":
			switch begun.Add(1) {
			case merge:
				close(merging)
				return hold(sealing)
			case seal:
				close(sealing)
				return hold(release)
			}
		case "entered":
			if entered.Add(1) == merge {
				close(merged)
			}
		}
		return nil
	}
	s := openWith(t, cfg)
	t.Cleanup(func() { _ = s.Close() }) // when what is held has been let go
	wait := func(what string, is func() bool) {
		t.Helper()
		for start := time.Now(); !is(); time.Sleep(time.Millisecond) {
			// Each takes milliseconds; a minute is beyond what a busy machine makes of them.
			if time.Since(start) > time.Minute || s.Failed() != nil {
				t.Fatalf("no %s: %v", what, s.Failed())
			}
		}
	}
	closed := func(c chan struct{}) func() bool {
		return func() bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
	}
	n := 0
	commit := func() {
		t.Helper()
		if n == len(events) {
			t.Fatal("the events are used up")
		}
		next := min(n+50/fraction(3), len(events))
		if _, err := s.Apply(db.Batch{Host: "sim", Events: events[n:next]}); err != nil {
			t.Fatal(err)
		}
		n = next
	}
	compare := func(when string) {
		t.Helper()
		if err := modelOf(events[:n]).Compare(t.Context(), s, sampled(50)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	for entered.Load() < merge-1 { // one by one
		commit()
		wait("seal", func() bool { return !s.Sealing() })
	}
	wait("merge", closed(merging))
	for !s.Sealing() {
		commit()
	}
	wait("seal", closed(sealing))
	wait("swap", closed(merged))
	for range 4 { // as many as make a merge in memory, and fewer than the writer waits at
		commit()
	}
	compare("held")
	close(release)
	wait("end of the seal", func() bool { return !s.Sealing() })
	compare("let go")
	for n < len(events) {
		commit()
	}
	compare("at the end")
}

// TestLongLists counts the accounts of lists that are long enough for sets, whose links come, go and come again, in
// memory and in segments.
func TestLongLists(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	h := newHistory(9)
	targets := []string{"https://example.com/",
		"at://" + h.dids[0] + "/app.bsky.feed.post/" + h.tid(1_760_000_000_000_000)}
	has := map[string]bool{}
	var events []apply.Event
	for range 12_000 {
		h.now += 1000
		h.rev = uint64(h.now) << 10
		e := h.event(fmt.Sprintf("did:plc:%024d", 100+r.IntN(1500)), db.OpCreate)
		e.Collection, e.Rkey = "app.bsky.feed.like", h.tid(1_760_000_000_000_000+int64(r.IntN(2)))
		if key := e.DID + e.Rkey; has[key] && r.IntN(3) > 0 {
			e.Op, has[key] = db.OpDelete, false
		} else {
			has[key], e.Links = true, []db.Link{{Path: "subject.uri", Target: pick(r, targets...)}}
		}
		events = append(events, e)
	}
	for _, sealBytes := range []int{1 << 30, 60 << 10} {
		t.Run(fmt.Sprintf("sealed at %d", sealBytes), func(t *testing.T) {
			t.Parallel()
			var clock atomic.Int64
			cfg := small(t.TempDir(), &clock)
			cfg.SealBytes = sealBytes
			s := openWith(t, cfg)
			defer s.Close()
			n := 0
			if err := applyAll(s, events, 200, func() {
				if n += 200; n%(3000*fraction(2)) == 0 {
					if err := modelOf(events[:n]).Compare(t.Context(), s, dbtest.Depth{Page: 400}); err != nil {
						t.Fatalf("after %d events: %v", n, err)
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestFilteredLists pages through lists of which only some accounts are asked for, in both directions.
func TestFilteredLists(t *testing.T) {
	t.Parallel()
	h := newHistory(11)
	var events []apply.Event
	for len(events) < 1000 {
		for _, e := range h.next() {
			if e.Op != db.OpAccount { // whose deletions would leave little to ask for
				events = append(events, e)
			}
		}
	}
	s := open(t, t.TempDir())
	defer s.Close()
	if err := applyAll(s, events, 50, func() {}); err != nil {
		t.Fatal(err)
	}
	m, n := modelOf(events), 0
	m.Settle()
	for list, links := range m.Lists() {
		for _, dids := range [][]string{{}, h.dids[:1], h.dids[1:3], append(h.dids[1:], "did:plc:nobody")} {
			want := map[db.Record]bool{}
			for _, l := range links {
				if slices.Contains(dids, l.Record.DID) {
					want[l.Record] = true
				}
			}
			n += len(want)
			for _, reverse := range []bool{false, true} {
				q := db.ListQuery{Target: list.Target, Source: list.Source, DIDs: dids, Limit: 1, Reverse: reverse}
				got, listed := map[db.Record]bool{}, 0
				for more := true; more && listed <= len(want); more = q.After != nil {
					page, err := s.Links(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					if page.Total != int64(len(want)) || len(page.Items) > q.Limit {
						t.Fatalf("%v by %v: a page of %d items of %d; there are %d", list, dids, len(page.Items),
							page.Total, len(want))
					}
					for _, r := range page.Items {
						got[r] = true
					}
					listed, q.After = listed+len(page.Items), page.Next
				}
				if listed != len(want) || !maps.Equal(got, want) {
					t.Fatalf("%v by %v (reverse %t) lists %d links, %v, and has %v", list, dids, reverse, listed, got,
						want)
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("%d links were asked for; that is no test", n)
	}
}

// TestNothingEntersAfterFault: a segment that is being written when the database fails does not enter the manifest:
// after a fault nothing is written any more.
func TestNothingEntersAfterFault(t *testing.T) {
	t.Parallel()
	events, err := truth.Events(sim.NetworkConfig{Accounts: 200, Seed: 8}, 3000)
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	writing, release := make(chan struct{}), make(chan struct{})
	cfg := small(t.TempDir(), &clock)
	cfg.Failpoint = func(name string) error {
		if name == "created" {
			close(writing)
			<-release
		}
		return nil
	}
	s := openWith(t, cfg)
	n := 0
	for ; !s.Sealing(); n += 50 {
		if _, err := s.Apply(db.Batch{Host: "sim", Events: events[n : n+50]}); err != nil {
			t.Fatal(err)
		}
	}
	<-writing
	dbtest.Statements(
		"CREATE TRIGGER fault BEFORE INSERT ON upstream BEGIN SELECT RAISE(ABORT, 'a fault after the rows'); END")(t, cfg.Dir)
	if _, err := s.Apply(db.Batch{Host: "sim", Events: events[n : n+50]}); !errors.Is(err, db.ErrFailed) {
		t.Errorf("applied with %v", err)
	}
	close(release)
	if err := s.Close(); err != nil { // which waits for the seal
		t.Fatal(err)
	}
	dbtest.Statements("DROP TRIGGER fault")(t, cfg.Dir)
	var entered int
	if err := openSQL(t, cfg.Dir).QueryRow("SELECT count(*) FROM segments").Scan(&entered); err != nil || entered != 0 {
		t.Errorf("%d segments entered after the fault (%v)", entered, err)
	}
	cfg.Failpoint = nil
	s = openWith(t, cfg)
	defer s.Close()
	if err := modelOf(events[:n]).Compare(t.Context(), s, sampled(50)); err != nil {
		t.Error(err)
	}
}

// TestNothingOfAFaultyFold: of a batch whose folding meets a fault in our own data nothing is committed, though most of
// its rows were written by then.
func TestNothingOfAFaultyFold(t *testing.T) {
	t.Parallel()
	h := newHistory(13)
	record := func(did, rkey string) apply.Event {
		e := h.event(did, db.OpCreate)
		e.Collection, e.Rkey = "com.example.thing", rkey
		e.Links = []db.Link{{Path: "subject", Target: "https://example.com/" + rkey}}
		return e
	}
	var events []apply.Event
	for i := range 3000 {
		events = append(events, record(h.dids[i%len(h.dids)], fmt.Sprint(i)))
	}
	var clock atomic.Int64
	cfg := small(t.TempDir(), &clock)
	cfg.SealBytes = 20 << 10
	s := openWith(t, cfg)
	if err := applyAll(s, events, 100, func() {}); err != nil {
		t.Fatal(err)
	}
	paths := s.SegmentPaths()
	if err := s.Close(); err != nil || len(paths) == 0 {
		t.Fatalf("%d segments, %v", len(paths), err)
	}
	other, err := sql.Open("sqlite", "file:"+paths[0])
	if err != nil {
		t.Fatal(err)
	}
	// The records alone: what the batch writes of names must be right, or SQLite would refuse it.
	res, err := other.Exec(
		`UPDATE blocks SET data = x'00' WHERE id IN (SELECT blocks.id FROM blocks, head, json_each(head.data, '$.runs') AS run
		WHERE run.value ->> 'id' = 2 AND blocks.id BETWEEN run.value ->> 'first' AND (run.value ->> 'first') + (run.value ->> 'blocks') - 1)`)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%d blocks are damaged (%v)", n, err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, cfg)
	cursor, seq := s.Cursor("sim"), s.Seq()
	var batch []apply.Event
	for i := range 140 {
		batch = append(batch, record(fmt.Sprintf("did:web:a%d.example", i), "new"))
	}
	if _, err := s.Apply(db.Batch{Host: "sim", Events: append(batch, record(h.dids[0], "0"))}); !errors.Is(err,
		db.ErrFailed) {
		t.Fatalf("applied with %v", err)
	}
	if s.Cursor("sim") != cursor || s.Seq() != seq {
		t.Errorf("the cursor went from %d to %d, the log from %d to %d", cursor, s.Cursor("sim"), seq, s.Seq())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var rows uint64
	if err := openSQL(t, cfg.Dir).QueryRow("SELECT max(last) FROM log").Scan(&rows); err != nil || rows != seq {
		t.Errorf("the log in the file ends with row %d, and did with %d (%v)", rows, seq, err)
	}
}

// TestPruneKeepsOpenResync: the rows that say what a resync has seen stay in the log while it is open, however old and
// sealed they are, so that after a restart its end removes what it did not see, and nothing else.
func TestPruneKeepsOpenResync(t *testing.T) {
	t.Parallel()
	h := newHistory(12)
	did := h.dids[0]
	record := func(did, rkey string) apply.Event {
		e := h.event(did, db.OpCreate)
		e.Collection, e.Rkey = "com.example.thing", rkey
		e.Links = []db.Link{{Path: "subject", Target: "https://example.com/" + rkey}}
		return e
	}
	later := func(us int64) { h.now += us; h.rev = uint64(h.now) << 10 }
	events := []apply.Event{record(did, "a"), record(did, "b"), record(did, "c")}
	later(1000)
	events = append(events, h.event(did, db.OpSync), record(did, "a"), record(did, "b"))
	less := fraction(2)
	n := 4000 / less
	for i := range n { // in less of the upstream's time than ends a resync
		later(1000)
		events = append(events, record(h.dids[1+i%4], fmt.Sprint(i)))
	}
	var clock atomic.Int64
	cfg := small(t.TempDir(), &clock)
	cfg.SealBytes, cfg.ReplayWindow = 20<<10/less, 5*time.Minute
	s := openWith(t, cfg)
	for _, part := range [][]apply.Event{events[:3], events[3:]} { // the resync begins a block of the log
		if err := applyAll(s, part, 50/less, func() { clock.Add(60) }); err != nil {
			t.Fatal(err)
		}
	}
	if oldest, newest := must2(s.LogRange(t.Context())); oldest != 4 || newest < uint64(n) {
		t.Errorf("the log reaches from row %d to %d; the resync began with row 4", oldest, newest)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, cfg)
	defer s.Close()
	later(2 * 60_000_000)
	events = append(events, record(h.dids[1], "last"))
	if _, err := s.Apply(db.Batch{Host: "sim", Events: events[len(events)-1:]}); err != nil {
		t.Fatal(err)
	}
	if err := modelOf(events).Compare(t.Context(), s, sampled(1000)); err != nil {
		t.Error(err)
	}
}
