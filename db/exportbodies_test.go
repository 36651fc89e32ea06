package db_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/export"
)

// exportedBodies answers about the content of records from an export.
type exportedBodies map[db.Record]db.Body

func (x exportedBodies) Bodies(_ context.Context, records []db.Record) ([]db.Body, error) {
	out := make([]db.Body, len(records))
	for i, r := range records {
		out[i] = x[r]
	}
	return out, nil
}

// bodiesOf reads the content of all records of an export.
func bodiesOf(t *testing.T, dir string, o export.Options) exportedBodies {
	t.Helper()
	o.Bodies = true
	e, err := export.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	bodies, some := exportedBodies{}, false
	for r, err := range e.Records(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		bodies[r.Record], some = r.Body, some || r.Body.CID != ""
	}
	if some && e.BodiesFrom > e.LogSeq || e.BodiesFrom == 0 {
		t.Errorf("bodies are said to be there from log row %d on, and the log ends at %d", e.BodiesFrom, e.LogSeq)
	}
	return bodies
}

// TestExportBodies: wherever a history is stopped, and however bodies were kept, an export has what the records hold,
// as the index itself gives it.
func TestExportBodies(t *testing.T) {
	t.Parallel()
	for seed := range seeds(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(200 + seed)
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				JobRecords: 1 + int(seed%3), JobRest: -1,
				SealBytes: 4 << 10 << (seed % 3), CacheBytes: 1 << 16, ReplayWindow: time.Duration(seed%3) * 5 * time.Minute}
			ways := [][]db.Bodies{{db.BodiesKeep}, {db.BodiesWindow},
				{db.BodiesOff, db.BodiesWindow, db.BodiesKeep}}[seed%3]
			missing := func(db.Record) bool {
				return len(ways) > 1 || ways[0] == db.BodiesWindow &&
					cfg.ReplayWindow > 0
			}
			var m dbtest.Model
			given, before := 0, exportedBodies{}
			for range 8 {
				was := cfg.Bodies
				cfg.Bodies = pick(h.r, ways...)
				s := openWith(t, cfg)
				if was == cfg.Bodies {
					sameBodies(t, s, before, cfg.Bodies == db.BodiesWindow && cfg.ReplayWindow > 0)
				}
				for range 8 / fraction(1) {
					var batch []apply.Event
					for range h.r.IntN(40) {
						batch = append(batch, h.next()...)
					}
					for _, e := range batch {
						m.Apply(e)
					}
					if _, err := s.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
						t.Fatal(err)
					}
					clock.Add(int64(h.r.IntN(120)))
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				before = bodiesOf(t, cfg.Dir, export.Options{})
				if err := m.CompareBodies(t.Context(), before, missing); err != nil {
					t.Fatalf("%v: %v", cfg.Bodies, err)
				}
				all := bodiesOf(t, cfg.Dir, export.Options{Inactive: true})
				hidden := m.HiddenBodies()
				for r, got := range all {
					want, ok := hidden[r]
					if !ok {
						want = before[r]
					}
					if got.CID != want.CID && (got.CID != "" || !missing(r)) || string(got.CBOR) != string(want.CBOR) &&
						got.CID != "" {
						t.Fatalf("with inactive accounts, %v has the body %s, not %s", r, got.CID, want.CID)
					}
					if got.CID != "" {
						given++
					}
				}
			}
			if given == 0 {
				t.Error("no body was given")
			}
		})
	}
}

// sameBodies holds an export against the store that it was made of. pruned: the store may have deleted bodies since.
func sameBodies(t *testing.T, s *db.Store, exported exportedBodies, pruned bool) {
	t.Helper()
	for r, want := range exported {
		got, err := s.Bodies(t.Context(), []db.Record{r})
		if err != nil {
			t.Fatal(err)
		}
		if pruned && got[0].CID == "" {
			continue
		}
		if got[0].CID != want.CID || string(got[0].CBOR) != string(want.CBOR) {
			t.Fatalf("%v: the index gives %s, and the export had %s", r, got[0].CID, want.CID)
		}
	}
}

// stoppedBodies is a store that keeps bodies, for a test that stops it.
func stoppedBodies(t *testing.T) *bodyStore {
	b := &bodyStore{T: t, cfg: db.Config{Dir: t.TempDir(), Bodies: db.BodiesKeep}}
	b.Store = openWith(t, b.cfg)
	return b
}

// TestExportGivenUp: bodies that are there still count no more once a start has given them up.
func TestExportGivenUp(t *testing.T) {
	t.Parallel()
	b := stoppedBodies(t)
	b.apply(b.event(db.OpCreate, alice, "a", "one"), b.event(db.OpCreate, alice, "b", "two"))
	for _, tc := range []struct {
		mode db.Bodies
		want int
	}{{db.BodiesKeep, 2}, {db.BodiesOff, 0}, {db.BodiesKeep, 0}} {
		b.reopen(tc.mode)
		if err := b.Store.Close(); err != nil {
			t.Fatal(err)
		}
		given := 0
		for _, body := range bodiesOf(t, b.cfg.Dir, export.Options{}) {
			if body.CID != "" {
				given++
			}
		}
		if given != tc.want {
			t.Errorf("%v: %d bodies are given, not %d", tc.mode, given, tc.want)
		}
		b.Store = openWith(t, b.cfg)
	}
	if err := b.Store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestExportDamagedBody: a body that is not what it was ends the export at its record, which another can begin with.
func TestExportDamagedBody(t *testing.T) {
	t.Parallel()
	b := stoppedBodies(t)
	b.apply(b.event(db.OpCreate, alice, "a", "one"), b.event(db.OpCreate, alice, "b", "two"),
		b.event(db.OpCreate, alice, "c", "three"))
	if err := b.Store.Close(); err != nil {
		t.Fatal(err)
	}
	dbtest.Statements("UPDATE blocks SET body = (SELECT body FROM blocks WHERE id = 3) WHERE id = 2")(t, b.cfg.Dir)
	e, err := export.Open(t.Context(), b.cfg.Dir, export.Options{Bodies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var records []string
	for r, walk := range e.Records(t.Context(), "") {
		if err = walk; err == nil {
			records = append(records, r.Rkey)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "the body of log row 2: it is damaged") ||
		!strings.Contains(err.Error(), "weft check --all") {
		t.Errorf("ended with %v", err)
	}
	next, err := e.Next(t.Context())
	if !slices.Equal(records, []string{"a"}) || err != nil || next != "at://"+alice+"/app.bsky.feed.like/b" {
		t.Errorf("gave %v; next is %s, %v", records, next, err)
	}
}
