package db_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestLogTellsAll folds what the log says, read in pieces of any size, and holds it against what the index lists: a
// reader of the log can follow every link of every active account.
func TestLogTellsAll(t *testing.T) {
	t.Parallel()
	for seed := range seeds(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed + 2000)
			s := openWith(t, db.Config{Dir: t.TempDir(), JobRecords: 3, JobRest: -1, SealBytes: 8 << 10})
			defer func() { _ = s.Close() }()
			for range 40 {
				var events []apply.Event
				for range 1 + h.r.IntN(20) {
					events = append(events, h.next()...)
				}
				if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
					t.Fatal(err)
				}
			}
			untilNoJobs(t, s)
			type at struct {
				record db.Record
				link   db.Link
			}
			links, hidden := map[at]bool{}, map[string]bool{}
			type read struct {
				after, last uint64
				limit       int
				entries     []db.LogEntry
			}
			var reads []read
			var after uint64
			for after < s.Seq() {
				limit := 1 + h.r.IntN(50)
				entries, last, err := s.Log(t.Context(), after, limit)
				reads = append(reads, read{after, last, limit, entries})
				if err != nil || last <= after {
					t.Fatalf("behind %d up to %d: %v", after, last, err)
				}
				sameWithoutDIDs(t, s, after, limit, entries, last)
				for _, e := range entries {
					if e.Seq <= after || e.Seq > last {
						t.Fatalf("row %d behind %d up to %d", e.Seq, after, last)
					}
					record := db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}
					for _, l := range e.Removed {
						if !links[at{record, l}] {
							t.Fatalf("row %d removes %v, which %v has not", e.Seq, l, record)
						}
						delete(links, at{record, l})
					}
					for _, l := range e.Added {
						if links[at{record, l}] {
							t.Fatalf("row %d adds %v, which %v has", e.Seq, l, record)
						}
						links[at{record, l}] = true
					}
					if e.Op == db.OpAccount {
						hidden[e.DID] = e.Status != db.StatusActive
						for l := range links {
							if e.Status == db.StatusDeleted && l.record.DID == e.DID {
								delete(links, l)
							}
						}
					}
				}
				after = last
			}
			lists := map[db.Pair][]db.Record{}
			for l := range links {
				if !hidden[l.record.DID] {
					key := db.Pair{Target: l.link.Target, Source: db.Source{Collection: l.record.Collection,
						Path: l.link.Path}}
					lists[key] = append(lists[key], l.record)
				}
			}
			total := 0
			for list, records := range lists {
				page, err := s.Links(t.Context(), db.ListQuery{Target: list.Target, Source: list.Source, Limit: 1000})
				if err != nil {
					t.Fatal(err)
				}
				total += len(records)
				if len(page.Items) != len(records) {
					t.Errorf("%v has %d links by the log and lists %d", list, len(records), len(page.Items))
				}
				for _, r := range page.Items {
					if !slices.Contains(records, r) {
						t.Errorf("%v lists %v, which the log doesn't know", list, r)
					}
				}
			}
			if st, err := s.Stats(t.Context()); err != nil || st.Links != int64(total) {
				t.Errorf("%d links, and the log has %d, %v", st.Links, total, err)
			}
			if entries, last, err := s.Log(t.Context(), s.Seq()+5, 10); len(entries) > 0 || last != s.Seq()+5 ||
				err != nil {
				t.Errorf("beyond the end: %v, %d, %v", entries, last, err)
			}
			s.LogFromDisk()
			for _, r := range reads {
				entries, last, err := s.Log(t.Context(), r.after, r.limit)
				if err != nil || last != r.last || !reflect.DeepEqual(entries, r.entries) {
					t.Errorf("after %d the database has %v up to %d, %v; in memory were %v up to %d", r.after, entries, last, err,
						r.entries, r.last)
				}
				sameWithoutDIDs(t, s, r.after, r.limit, entries, last)
			}
		})
	}
}

// TestLogByTime finds times in the log, says when it no longer reaches back, and wakes who waits for a commit.
func TestLogByTime(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	s := openWith(t, db.Config{Dir: t.TempDir(), SealBytes: 1 << 10, ReplayWindow: 10 * time.Minute,
		Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	defer func() { _ = s.Close() }()
	if at, err := s.SeqAt(t.Context(), 5); at != 0 || err != nil {
		t.Errorf("an empty log: %d, %v", at, err)
	}
	h := newHistory(1)
	var times []int64
	commit := func() {
		wait := s.Commits()
		e := h.recordEvent(h.dids[0], db.OpCreate)
		e.TimeUS, e.Rkey = clock.Load()*1_000_000, fmt.Sprintf("k%d", len(times))
		e.Links = []db.Link{{Path: "subject", Target: "https://example.com/"}}
		if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-wait:
		default:
			t.Fatal("nobody was told of a commit")
		}
		times = append(times, e.TimeUS)
		clock.Add(30)
	}
	for range 15 {
		commit()
	}
	for i, us := range times {
		for _, c := range []struct {
			us   int64
			want int
		}{{us - 1, i}, {us, i}, {us + 1, i + 1}} {
			if at, err := s.SeqAt(t.Context(), c.us); at != uint64(c.want) || err != nil {
				t.Errorf("the time %d is behind row %d, %v, not %d", c.us, at, err, c.want)
			}
		}
	}
	for range 300 {
		commit()
	}
	oldest, newest, err := s.LogRange(t.Context())
	if err != nil || oldest < 2 {
		t.Fatalf("the log from %d to %d, %v", oldest, newest, err)
	}
	for _, after := range []uint64{0, oldest - 2} {
		if _, _, err := s.Log(t.Context(), after, 5); !errors.Is(err, db.ErrLogPruned) {
			t.Errorf("behind %d: %v", after, err)
		}
	}
	if entries, last, err := s.Log(t.Context(), oldest-1, 5); err != nil || len(entries) != 5 || last != oldest+4 {
		t.Errorf("behind %d: %d rows up to %d, %v", oldest-1, len(entries), last, err)
	}
	if _, err := s.SeqAt(t.Context(), times[0]); !errors.Is(err, db.ErrLogPruned) {
		t.Errorf("a time of long ago: %v", err)
	}
	if at, err := s.SeqAt(t.Context(), times[len(times)-1]+1); at != newest || err != nil {
		t.Errorf("the future is behind %d, %v", at, err)
	}
}

// sameWithoutDIDs: LogLinks returns what Log has returned, without the DIDs.
func sameWithoutDIDs(t *testing.T, s *db.Store, after uint64, limit int, entries []db.LogEntry, last uint64) {
	t.Helper()
	want := slices.Clone(entries)
	for i := range want {
		want[i].DID = ""
	}
	got, gotLast, err := s.LogLinks(t.Context(), after, limit)
	if err != nil || gotLast != last || !reflect.DeepEqual(got, want) {
		t.Fatalf("LogLinks after %d: %v, up to %d: %v; in place of %v up to %d", after, got, gotLast, err, want, last)
	}
	var newest int64
	for _, e := range entries {
		newest = max(newest, e.TimeUS)
	}
	us, timeLast, err := s.LogTime(t.Context(), after, int(last-after))
	if err != nil || timeLast != last || us < newest || len(entries) == int(last-after) && us != newest {
		t.Fatalf("LogTime after %d: %d up to %d: %v; in place of %d up to %d", after, us, timeLast, err, newest, last)
	}
}
