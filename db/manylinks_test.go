package db_test

import (
	"fmt"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
)

// manyLinks is links to from, from+1, … up to to, at two paths.
func manyLinks(from, to int) []db.Link {
	links := make([]db.Link, 0, to-from)
	for i := from; i < to; i++ {
		links = append(links, db.Link{Path: fmt.Sprintf("items[].n%d", i%2),
			Target: fmt.Sprintf("https://example.com/%06d", i)})
	}
	return links
}

// TestManyLinks takes records through changes of more links than a log row has room for, and holds what the index, its
// log, a follower and a start make of them against what the events said.
func TestManyLinks(t *testing.T) {
	t.Parallel()
	const did, collection, row = "did:plc:aaaabbbbccccddddeeeeffff", "com.example.list", 4096
	record := db.Record{DID: did, Collection: collection, Rkey: "self"}
	steps := []struct {
		name  string
		op    db.Op
		links []db.Link
		body  string // another one than before changes the record too
		rows  int    // of the log
	}{
		{"as many as a row has room for", db.OpCreate, manyLinks(0, row), "1", 1},
		{"one fewer and one more", db.OpUpdate, manyLinks(1, row+1), "2", 1},
		{"the same, and another body", db.OpUpdate, manyLinks(1, row+1), "3", 1},
		{"twice as many, all others", db.OpUpdate, manyLinks(10_000, 10_000+2*row), "4", 3},
		{"one fewer", db.OpUpdate, manyLinks(10_001, 10_000+2*row), "5", 1},
		{"all are gone", db.OpDelete, nil, "", 2},
		{"one more than a row has room for", db.OpCreate, manyLinks(0, row+1), "6", 2},
		{"all but one are gone", db.OpUpdate, manyLinks(0, 1), "7", 1},
		{"what two rows have", db.OpUpdate, manyLinks(1, 2*row), "8", 2},
	}
	for _, mode := range []db.Bodies{db.BodiesOff, db.BodiesKeep} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			t.Parallel()
			cfg := db.Config{Dir: t.TempDir(), Bodies: mode, SealBytes: 1 << 20}
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			f := follow(t, db.FollowerConfig{Dir: cfg.Dir})
			logged := map[db.Link]bool{}
			for i, step := range steps {
				e := apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000 + int64(i), Op: step.op, DID: did,
					Collection: collection,
					Rkey:       record.Rkey, Rev: newHistory(0).tid(1_770_000_000_000_000 + int64(i)), Links: step.links,
					Body: []byte(step.body)}
				seq := s.Seq()
				rows := step.rows
				if mode == db.BodiesOff && step.name == "the same, and another body" {
					rows = 0
				}
				applied, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{e}})
				if err != nil || applied.Changed != rows || s.Seq() != seq+uint64(rows) {
					t.Fatalf("%s: %+v, %v; %d log rows, want %d", step.name, applied, err, s.Seq()-seq, rows)
				}
				sayLog(t, s, seq, record, logged, step.op == db.OpCreate)
				refresh(t, f)
				checkLinksOf(t, step.name, s, record, step.links)
				checkLinksOf(t, step.name+", of a follower", f, record, step.links)
				for _, l := range step.links {
					if !logged[l] || len(logged) != len(step.links) {
						t.Fatalf("%s: the log leaves %d links of %d, and %v is %v", step.name, len(logged),
							len(step.links), l, logged[l])
					}
				}
				if i%2 == 1 {
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = openWith(t, cfg)
					checkLinksOf(t, step.name+", after a start", s, record, step.links)
				}
				if mode == db.BodiesKeep && step.op != db.OpDelete {
					got, err := s.Bodies(t.Context(), []db.Record{record})
					if err != nil || len(got) != 1 || got[0].CID != body.Sum([]byte(step.body)).CID() {
						t.Fatalf("%s: the body %+v, %v", step.name, got, err)
					}
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			report, err := check.Run(t.Context(), cfg.Dir, check.Options{All: true})
			if err != nil || len(report.Problems) > 0 {
				t.Fatalf("check: %v, %+v", err, report)
			}
		})
	}
}

// checkLinksOf holds the links of a record, and the counts of some, against want.
func checkLinksOf(t *testing.T, what string, x dbtest.Index, record db.Record, want []db.Link) {
	t.Helper()
	got, err := x.RecordLinks(t.Context(), record)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%s: %d links of %d, %v", what, len(got), len(want), err)
	}
	has := make(map[db.Link]bool, len(got))
	for _, l := range got {
		has[l] = true
	}
	for i, l := range want {
		if !has[l] {
			t.Fatalf("%s: no link %v", what, l)
		}
		if i%97 == 0 {
			n, err := x.CountLinks(t.Context(), l.Target, db.Source{Collection: record.Collection, Path: l.Path})
			if err != nil || n != 1 {
				t.Fatalf("%s: %d links to %s, %v", what, n, l.Target, err)
			}
		}
	}
}

// sayLog folds the log behind a row, in pieces, into links: each is added when it isn't there, and removed when it is.
func sayLog(t *testing.T, s *db.Store, after uint64, record db.Record, links map[db.Link]bool, created bool) {
	t.Helper()
	for first := true; after < s.Seq(); first = false {
		entries, last, err := s.Log(t.Context(), after, 1)
		if err != nil || last != after+1 || len(entries) != 1 {
			t.Fatalf("behind %d: %d entries up to %d, %v", after, len(entries), last, err)
		}
		e := entries[0]
		if (db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}) != record ||
			(e.Op == db.OpCreate) != (created && first) ||
			e.Op == db.OpDelete && (last != s.Seq() || len(e.Added) > 0) || len(e.Added)+len(e.Removed) > 4096 {
			t.Fatalf("log row %d is of op %d, adds %d links and removes %d", last, e.Op, len(e.Added), len(e.Removed))
		}
		for _, l := range e.Removed {
			if !links[l] {
				t.Fatalf("log row %d removes %v, which isn't there", last, l)
			}
			delete(links, l)
		}
		for _, l := range e.Added {
			if links[l] {
				t.Fatalf("log row %d adds %v, which is there", last, l)
			}
			links[l] = true
		}
		after = last
	}
}

// TestLogIsReadInPieces: a piece of the log that would have too many links ends before the row with which it has them.
func TestLogIsReadInPieces(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer func() { _ = s.Close() }()
	var events []apply.Event
	h := newHistory(0)
	for i := range 20 {
		events = append(events, apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
			DID: h.dids[0], Collection: "com.example.list",
			Rkey: fmt.Sprint(i), Rev: h.tid(1_770_000_000_000_000 + int64(i)), Links: manyLinks(0, 3000)})
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for after := uint64(0); after < s.Seq(); {
		entries, last, err := s.Log(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		links := 0
		for _, e := range entries {
			if len(e.Added) != 3000 {
				t.Fatalf("log row %d has %d links", e.Seq, len(e.Added))
			}
			links += len(e.Added)
		}
		if len(entries) == 0 || links > 1<<14+4096 || last != after+uint64(len(entries)) {
			t.Fatalf("%d entries with %d links behind %d, up to %d", len(entries), links, after, last)
		}
		rows += len(entries)
		after = last
	}
	if rows != 20 {
		t.Errorf("%d rows", rows)
	}
}
