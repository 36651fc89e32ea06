package db_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/export"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// exported is a row of an export.
type exported struct {
	record db.Record
	link   db.Link
	rank   uint64
}

// export reads an export from after a record on, and gives its rows and its records, both in order.
func exportOf(t *testing.T, dir string, o export.Options, after string) (rows []exported, records []string) {
	t.Helper()
	e, err := export.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	share := 0.0
	for r, err := range e.Records(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Links) == 0 {
			t.Fatalf("%s has no links", r.URI())
		}
		for _, l := range r.Links {
			rows = append(rows, exported{r.Record, l.Link, uint64(l.TimeUS)})
		}
		records = append(records, r.URI())
		next, err := e.Share()
		if err != nil || next < share || next > 1 {
			t.Fatalf("the share goes from %v to %v, %v", share, next, err)
		}
		share = next
	}
	return rows, records
}

// rowsOf is what an export of a model has, in no order.
func rowsOf(lists ...map[dbtest.List][]dbtest.Link) map[exported]bool {
	rows := map[exported]bool{}
	for _, of := range lists {
		for list, links := range of {
			for _, l := range links {
				rows[exported{l.Record, db.Link{Path: list.Source.Path, Target: list.Target}, l.Rank}] = true
			}
		}
	}
	return rows
}

func sameRows(t *testing.T, what string, got []exported, want map[exported]bool) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d links, not %d", what, len(got), len(want))
	}
	seen := map[exported]bool{}
	for _, row := range got {
		if !want[row] || seen[row] {
			t.Errorf("%s: %v is none (came before: %t)", what, row, seen[row])
			return
		}
		seen[row] = true
	}
}

// TestExportEqualsModel: wherever a history of seals, removals, resyncs and changes of status is stopped, jobs under
// way among it, the export is what the model holds; its order outlives all later events; and ranges are parts of it.
func TestExportEqualsModel(t *testing.T) {
	t.Parallel()
	for seed := range seeds(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				JobRecords: 1 + int(seed%3), JobRest: -1,
				SealBytes: 4 << 10 << (seed % 3), CacheBytes: 1 << 16, ReplayWindow: time.Duration(seed%5) * 10 * time.Minute}
			var m dbtest.Model
			place := map[string]int{} // of a record in the export before
			for range 10 {
				s := openWith(t, cfg)
				for range 10 / fraction(1) {
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
					clock.Add(int64(h.r.IntN(120) - 20))
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				m.Settle()
				rows, records := exportOf(t, cfg.Dir, export.Options{}, "")
				sameRows(t, "the export", rows, rowsOf(m.Lists()))
				last := -1
				for i, uri := range records {
					if was, ok := place[uri]; ok && was < last {
						t.Fatalf("%s has changed its place", uri)
					} else if ok {
						last = was
					}
					if slices.Index(records, uri) != i {
						t.Fatalf("%s comes twice", uri)
					}
				}
				clear(place)
				for i, uri := range records {
					place[uri] = i
				}
				all, inactive := exportOf(t, cfg.Dir, export.Options{Inactive: true}, "")
				sameRows(t, "with inactive accounts", all, rowsOf(m.Lists(), m.Hidden()))
				exportParts(t, h.r, cfg.Dir, rows, records)
				if t.Failed() {
					return
				}
				if len(inactive) < len(records) {
					t.Fatal("fewer records with inactive accounts than without")
				}
			}
		})
	}
}

// exportParts exports ranges at random places, which together are the export.
func exportParts(t *testing.T, r *rand.Rand, dir string, rows []exported, records []string) {
	t.Helper()
	if len(records) == 0 {
		return
	}
	uri := records[r.IntN(len(records))]
	did, rest, _ := strings.Cut(strings.TrimPrefix(uri, "at://"), "/")
	collection, _, _ := strings.Cut(rest, "/")
	for _, bound := range []string{uri, "at://" + did + "/" + collection, "at://" + did, did} {
		before, _ := exportOf(t, dir, export.Options{To: bound}, "")
		from, _ := exportOf(t, dir, export.Options{From: bound}, "")
		if !slices.Equal(append(slices.Clone(before), from...), rows) {
			t.Errorf("%d links before %s and %d from there on are not the %d of the whole", len(before), bound,
				len(from), len(rows))
		}
		if none, _ := exportOf(t, dir, export.Options{From: bound, To: bound}, ""); len(none) > 0 {
			t.Errorf("%d links from %s to itself", len(none), bound)
		}
	}
	at := slices.IndexFunc(rows, func(row exported) bool { return row.record == recordOf(uri) })
	n := 0
	for at+n < len(rows) && rows[at+n].record == recordOf(uri) {
		n++
	}
	if behind, _ := exportOf(t, dir, export.Options{}, uri); !slices.Equal(behind, rows[at+n:]) {
		t.Errorf("%d links behind %s, not %d", len(behind), uri, len(rows)-at-n)
	}
	only, _ := exportOf(t, dir, export.Options{Collections: []string{collection}}, "")
	want := slices.DeleteFunc(slices.Clone(rows),
		func(row exported) bool { return row.record.Collection != collection })
	if !slices.Equal(only, want) {
		t.Errorf("%d links of %s, not %d", len(only), collection, len(want))
	}
}

func recordOf(uri string) db.Record {
	parts := strings.SplitN(strings.TrimPrefix(uri, "at://"), "/", 3)
	return db.Record{DID: parts[0], Collection: parts[1], Rkey: parts[2]}
}

// TestExportWindows: an export of more than one window, of records with many links, loses none at the seams, and can be
// called off.
func TestExportWindows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	const records, links = 90, 500
	var events []apply.Event
	for i := range records {
		e := apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
			DID:        fmt.Sprintf("did:plc:%024d", i%7),
			Collection: "com.example.thing", Rkey: fmt.Sprintf("n%03d", i), Rev: "3mdtsyunhbu22"}
		for j := range links {
			e.Links = append(e.Links, db.Link{Path: "a[]",
				Target: fmt.Sprintf("at://did:plc:%024d/com.example.thing/n%03d", 1000+i*links+j, j)})
		}
		events = append(events, e)
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rows, uris := exportOf(t, dir, export.Options{}, "")
	if len(rows) != records*links || len(uris) != records {
		t.Fatalf("%d links of %d records", len(rows), len(uris))
	}
	want := map[exported]bool{}
	for _, e := range events {
		for _, l := range e.Links {
			want[exported{db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}, l,
				dbtest.Rank(e.Rkey, e.TimeUS)}] = true
		}
	}
	sameRows(t, "the export", rows, want)

	e, err := export.Open(t.Context(), dir, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err = range e.Records(ctx, "") {
		if n++; n == 1 {
			cancel()
		}
	}
	if !errors.Is(err, context.Canceled) || n >= records {
		t.Errorf("called off after %d records: %v", n, err)
	}
}

// TestExportRefuses: what can't be exported is said with the way out.
func TestExportRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{{Seq: 1, TimeUS: 1_770_000_000_000_000,
		Op:  db.OpCreate,
		DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Collection: "com.example.thing", Rkey: "self", Rev: "3mdtsyunhbu22",
		Links: []db.Link{{Path: "a", Target: "https://example.com/"}}}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rebuilding := t.TempDir()
	open(t, rebuilding).Close()
	dbtest.Statements("INSERT INTO records (seq, time_us, op, actor, status) VALUES (5000000, 1, 4, 1, 1)")(t, rebuilding)
	lost := t.TempDir()
	open(t, lost).Close()
	dbtest.Statements(
		"INSERT INTO segments VALUES (1, '1-2-X.weft', 0, 1, 2, 7, 1, 1, 1, 1, 4096, 'x', 1, NULL, NULL)")(t, lost)
	for _, tc := range []struct {
		name string
		dir  string
		o    export.Options
		want string
	}{
		{"no index", t.TempDir(), export.Options{}, "there is no weft.db"},
		{"an account that is none", dir, export.Options{From: "did:plc:unknown"},
			"never seen the account did:plc:unknown"},
		{"a collection that is none", dir,
			export.Options{To: "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/com.example.other/self"},
			"never seen the collection com.example.other"},
		{"a bound that is none", dir, export.Options{From: "https://example.com/"}, "is not a DID or an at-uri"},
		{"a filter that is none", dir, export.Options{Collections: []string{"com.example.other"}},
			"never seen the collection com.example.other"},
		{"an interrupted rebuild", rebuilding, export.Options{}, "log rows 1 to 5000000 are not in segments"},
		{"a lost segment", lost, export.Options{}, "start weft serve: it rebuilds the segments"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := export.Open(t.Context(), tc.dir, tc.o); err == nil ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("refused with %v, want %q in it", err, tc.want)
			}
		})
	}
}

// TestOfflineReplay: a long tail of the log that no segment has is replayed in memory by what only looks, and sealed by
// none of it.
func TestOfflineReplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var events []apply.Event
	for i := range 45_000 { // more than two of the runs that a replay makes
		events = append(events, apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000 + int64(i), Op: db.OpCreate,
			DID: fmt.Sprintf("did:plc:%024d", i%5000), Collection: "app.bsky.feed.like", Rkey: fmt.Sprintf("n%05d",
				i), Rev: "3mdtsyunhbu22",
			Links: []db.Link{{Path: "subject.uri", Target: "https://example.com/"}}})
	}
	if err := applyAll(s, events, 5000, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := hashFiles(t, dir)
	if _, records := exportOf(t, dir, export.Options{}, ""); len(records) != len(events) {
		t.Errorf("exported %d records of %d", len(records), len(events))
	}
	if r, err := check.Run(t.Context(), dir, check.Options{Sample: 10}); err != nil || r.Total > 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
	if after := hashFiles(t, dir); !maps.Equal(before, after) {
		t.Errorf("files changed: before %v, after %v", before, after)
	}
}

// BenchmarkExport walks and names the links of a million simulated events:
//
//	go test ./db -run '^$' -bench Export -benchtime 3x
func BenchmarkExport(b *testing.B) {
	events, err := truth.Events(sim.NetworkConfig{Accounts: 50_000}, 1_000_000)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	if err := applyAll(s, events, 1000, func() {}); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		e, err := export.Open(b.Context(), dir, export.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for r, err := range e.Records(b.Context(), "") {
			if err != nil {
				b.Fatal(err)
			}
			n += len(r.Links)
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "links/s")
}
