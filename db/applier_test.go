package db_test

import (
	"math"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

const (
	t0   = 1_770_000_000_000_000 // microseconds
	page = "https://example.com/"
)

var likes = db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}

// at is an event of the account a, seen sec seconds after t0, of a repo revision revSec seconds after t0.
func at(seq uint64, sec, revSec int64, op db.Op) apply.Event {
	return apply.Event{Seq: seq, TimeUS: t0 + sec*1e6, Op: op, DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
		Rev: string(link.AppendTID(nil, uint64(t0+revSec*1e6)<<10))}
}

// record is one of the account's likes of page, made, or taken back.
func record(seq uint64, sec, revSec int64, op db.Op, rkey string) apply.Event {
	e := at(seq, sec, revSec, op)
	if e.Collection, e.Rkey = likes.Collection, rkey; op != db.OpDelete {
		e.Links = []db.Link{{Path: likes.Path, Target: page}}
	}
	return e
}

func status(seq uint64, sec int64, st db.Status) apply.Event {
	e := at(seq, sec, 0, db.OpAccount)
	e.Status = st
	return e
}

func byOther(e apply.Event) apply.Event {
	e.DID = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	return e
}

// TestFolding goes through histories that once gave wrong answers. Each step is a batch, and what page has after it.
func TestFolding(t *testing.T) {
	t.Parallel()
	const create, del = db.OpCreate, db.OpDelete
	type step struct {
		host   string
		events []apply.Event
		want   int64
	}
	takendown := []apply.Event{record(1, 0, 0, create, "a"), status(2, 10, db.StatusTakendown),
		status(3, 11, db.StatusActive)}
	again := []apply.Event{record(1, 0, 0, create, "a"), status(2, 10, db.StatusTakendown),
		status(3, 11, db.StatusTakendown), status(4, 12, db.StatusActive)}
	buried := []apply.Event{record(1, 0, 0, create, "a"), status(2, 10, db.StatusDeleted),
		record(3, 15, 25, create, "late"), status(4, 20, db.StatusActive)}
	three := []apply.Event{record(1, 0, 0, create, "a"), record(2, 1, 1, create, "b"), record(3, 2, 2, create, "c")}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"a rewind over a takedown and its end", []step{{"h", takendown, 1}, {"h", takendown, 1}}},
		{"a rewind over a status that was told twice", []step{{"h", again, 1}, {"h", again, 1}}},
		{"a record that came after its account's end does not come back with a rewind",
			[]step{{"h", buried, 0}, {"h", buried, 0}}},
		{"the first record after an account's return, under a number that was used before, of a repo whose " +
			"clock is slow", []step{
			{"h", []apply.Event{record(1, 0, 0, create, "a"), status(2, 10, db.StatusDeleted),
				status(3, 20, db.StatusActive), byOther(record(4, 20, 20, create, "x"))}, 1},
			{"h", []apply.Event{record(4, 21, 19, create, "b")}, 2},
		}},
		{"a repeat within its batch", []step{{"h", []apply.Event{record(1, 0, 0, create, "a"), record(2, 10, 10, del, "a"),
			record(1, 0, 0, create, "a")}, 0}}},
		{"a repeat from another host", []step{
			{"h", []apply.Event{record(1, 0, 0, create, "a"), record(2, 10, 10, del, "a")}, 0},
			{"i", []apply.Event{record(7, 0, 0, create, "a")}, 0},
		}},
		{"a resync does not dip", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a")}, 3},
			{"h", []apply.Event{record(6, 10, 10, create, "c"), record(7, 20, 20, create, "d")}, 3},
		}},
		{"a resync whose repo had moved on when it was fetched", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 11, create, "a")}, 3},
			{"h", []apply.Event{record(6, 10, 11, create, "c"), record(7, 20, 20, del, "c")}, 1},
		}},
		{"a resync with rows of an older time", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, -1000, 10, create, "a"),
				byOther(record(6, 10, 10, del, "x"))}, 3},
		}},
		{"a commit from before the sync among its rows", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a"), record(6, 10, 9, del, "b")}, 3},
			{"h", []apply.Event{record(7, 10, 10, create, "c"), record(8, 20, 20, create, "d")}, 3},
		}},
		{"a resync that ends in silence", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a"),
				byOther(record(6, 71, 71, del, "x"))}, 1},
		}},
		{"a rewind into an open resync that brings only a part of it again", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a"), record(6, 10, 10, create, "b")},
				3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a")}, 3},
			{"h", []apply.Event{byOther(record(7, 71, 71, del, "x"))}, 2},
		}},
		{"a sync that comes again once its resync is complete, and nothing behind it", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a"),
				byOther(record(6, 71, 71, del, "x"))}, 1},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync)}, 1},
			{"h", []apply.Event{byOther(record(7, 200, 200, del, "x"))}, 1},
		}},
		{"the same from another host", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a"),
				byOther(record(6, 71, 71, del, "x"))}, 1},
			{"i", []apply.Event{at(14, 10, 10, db.OpSync)}, 1},
			{"i", []apply.Event{byOther(record(17, 200, 200, del, "x"))}, 1},
		}},
		{"a resync that another host comes into neither ends nor goes on until its own is back", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a")}, 3},
			{"i", []apply.Event{record(11, 20, 20, create, "d"), byOther(record(12, 200, 200, del, "x"))}, 4},
			{"i", []apply.Event{record(13, 210, 210, del, "c")}, 3},
			{"h", []apply.Event{record(6, 10, 10, create, "c"), record(7, 10, 10, create, "e")}, 4},
			{"h", []apply.Event{byOther(record(8, 300, 300, del, "x"))}, 3},
		}},
		{"a resync that another host sends too is that host's", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a")}, 3},
			{"i", []apply.Event{at(14, 10, 10, db.OpSync), record(15, 10, 10, create, "a"),
				record(16, 10, 10, create, "c")}, 3},
			{"i", []apply.Event{record(17, 20, 20, create, "d")}, 3},
		}},
		{"a resync whose host stays away for a day is broken off", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a")}, 3},
			{"i", []apply.Event{byOther(record(11, 90_000, 90_000, del, "x"))}, 3},
			{"i", []apply.Event{byOther(record(12, 90_100, 90_100, del, "x"))}, 3},
			{"h", []apply.Event{byOther(record(6, 90_200, 90_200, del, "x"))}, 3},
		}},
		{"a newer sync takes the place of one that is open", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a"), at(6, 20, 20, db.OpSync)}, 3},
			{"h", []apply.Event{record(7, 20, 20, create, "b"), record(8, 30, 30, create, "d")}, 2},
		}},
		{"what one host has lost comes from another, after newer events of the account", []step{
			{"h", []apply.Event{record(1, 0, 0, create, "a"), record(3, 7, 7, create, "c")}, 2},
			{"i", []apply.Event{record(11, 0, 0, create, "a"), record(12, 5, 5, create, "b")}, 3},
			{"i", []apply.Event{record(13, 7, 7, create, "c"), record(14, 8, 8, del, "b")}, 2},
			{"h", []apply.Event{record(3, 7, 7, create, "c"), record(4, 9, 9, del, "a")}, 1},
		}},
		{"a delete that one host has lost comes from another", []step{
			{"h", []apply.Event{record(1, 0, 0, create, "a"), record(3, 7, 7, create, "c")}, 2},
			{"i", []apply.Event{record(12, 5, 5, del, "a")}, 1},
			{"h", []apply.Event{record(1, 0, 0, create, "a")}, 1},
		}},
		{"what has come late leaves the account's revision: a sync from before it is stale", []step{
			{"h", []apply.Event{record(1, 0, 0, create, "a"), record(3, 7, 7, create, "c")}, 2},
			{"i", []apply.Event{record(12, 5, 5, create, "b")}, 3},
			{"i", []apply.Event{at(13, 6, 6, db.OpSync), byOther(record(14, 80, 80, del, "x"))}, 3},
		}},
		{"a record that a resync has removed doesn't come back from another host", []step{
			{"h", three, 3},
			{"h", []apply.Event{at(4, 10, 10, db.OpSync), record(5, 10, 10, create, "a"),
				byOther(record(6, 71, 71, del, "x")), record(7, 80, 80, create, "d")}, 2},
			{"i", []apply.Event{record(11, 5, 5, create, "e")}, 2},
		}},
		{"an event from before an account was deleted doesn't come back from another host", []step{
			{"h", []apply.Event{record(1, 0, 0, create, "a"), status(2, 10, db.StatusDeleted),
				status(3, 20, db.StatusActive), record(4, 30, 30, create, "b")}, 1},
			{"i", []apply.Event{record(11, 5, 5, create, "c"), record(12, 25, 25, create, "d")}, 2},
		}},
		{"a rewind over a repo whose revisions go back", []step{
			{"h", []apply.Event{record(1, 0, 7, create, "a"), record(2, 1, 3, del, "a")}, 0},
			{"h", []apply.Event{record(1, 0, 7, create, "a"), record(2, 1, 3, del, "a")}, 0},
		}},
		{"an event at the beginning of time", []step{{"h", []apply.Event{record(1, -t0/1e6, 0, create, "a")}, 1},
			{"h", []apply.Event{record(2, 1, 1, create, "b")}, 2}}},
		{"a number that SQLite can't hold", []step{{"h", []apply.Event{record(math.MaxUint64, 0, 0, create, "a")}, 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			for i, step := range tc.steps {
				if _, err := s.Apply(db.Batch{Host: step.host, Events: step.events}); err != nil {
					t.Fatal(err)
				}
				if n := must(s.CountLinks(t.Context(), page, likes)); n != step.want {
					t.Errorf("step %d: %d links, want %d", i+1, n, step.want)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, dir)
				if n := must(s.CountLinks(t.Context(), page, likes)); n != step.want {
					t.Errorf("step %d, opened anew: %d links, want %d", i+1, n, step.want)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
