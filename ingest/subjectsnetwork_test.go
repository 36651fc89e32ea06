package ingest_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
	"weft.dev/weft/ingest/upstream"
)

// subjectModel returns the model of an index of the links to some subjects, by a check of each subject alone.
func subjectModel(t *testing.T, s *sim.Server, c ingest.SliceConfig) *dbtest.Model {
	t.Helper()
	m, r := &dbtest.Model{}, truth.Reader{}
	err := s.Replay(1, func(e sim.Event) error {
		out, _, err := r.Event(e)
		out.Links = slices.DeleteFunc(out.Links, func(l db.Link) bool {
			return !slices.ContainsFunc(c.Subjects, func(subject string) bool { return linksTo(l.Target, subject) })
		})
		m.Apply(out)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Settle()
	return m
}

// linksTo reports whether a target belongs to a subject.
func linksTo(target, subject string) bool {
	below := func(prefix string) bool { return target == prefix || strings.HasPrefix(target, prefix+"/") }
	switch {
	case strings.HasPrefix(subject, "did:"):
		return target == subject || below("at://"+subject)
	case strings.HasPrefix(subject, "at://"):
		return below(subject)
	}
	page, err := url.Parse(target)
	return err == nil && strings.HasPrefix(target, "http") && page.Hostname() == subject
}

// popularSubjects returns subjects of each kind with many links in a network, in two halves.
func popularSubjects(t *testing.T, s *sim.Server) (first, second []string) {
	t.Helper()
	m, err := truth.Model(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	links := map[string]map[string]int{"did": {}, "record": {}, "host": {}}
	for list, l := range m.Lists() {
		page, err := url.Parse(list.Target)
		switch {
		case strings.HasPrefix(list.Target, "did:"):
			links["did"][list.Target] += len(l)
		case strings.HasPrefix(list.Target, "at://did:"):
			links["record"][list.Target] += len(l)
		case err == nil && strings.HasPrefix(list.Target, "https://") && page.Port() == "":
			links["host"][page.Hostname()] += len(l)
		}
	}
	for _, kind := range []string{"did", "record", "host"} {
		names := slices.SortedFunc(maps.Keys(links[kind]), func(a, b string) int {
			return cmp.Or(links[kind][b]-links[kind][a], cmp.Compare(a, b))
		})
		if len(names) < 6 {
			t.Fatalf("%d subjects of the kind %s", len(names), kind)
		}
		first = append(first, names[:3]...)
		second = append(second, names[3:6]...)
	}
	return first, second
}

// TestSubjectsOfNetwork follows the links to some subjects, through updates, deletions, changes of status and resyncs,
// from the archive into the live stream. Added subjects are filled from the archive, also in parts; removed ones lose
// their links; a reopened index is the same.
func TestSubjectsOfNetwork(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			server := serve(t, sim.ServerConfig{Backlog: 2000, EventsPerSegment: 500,
				NetworkConfig: sim.NetworkConfig{Accounts: 100, Churn: 20, Seed: seed, RatePerSec: 10}})
			dir := t.TempDir()
			store := openStore(t, dir)
			defer func() { _ = store.Close() }()
			cfg := ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, From: ingest.From{Start: true},
				Fill:        50 * time.Millisecond,
				FillRecords: int(seed) * 1000} // in parts with the second seed
			var choice ingest.SliceConfig
			begin := func(list ...[]string) *follower {
				choice.Subjects = slices.Concat(list...)
				var err error
				cfg.Slice, err = ingest.NewSlice(choice)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Store = store
				return follow(t, cfg)
			}
			settle := func(f *follower) {
				server.Emit(62 * 10)
				untilCaughtUp(t, store, server)
				f.stop()
			}
			first, second := popularSubjects(t, server)
			settle(begin(first))
			m := subjectModel(t, server, choice)
			if m.Records() < 50 {
				t.Errorf("the slice has %d records", m.Records())
			}
			if err := m.Compare(t.Context(), store, dbtest.Depth{Page: 50}); err != nil {
				t.Error(err)
			}

			if err := store.AddGap(db.Gap{Host: server.URL(), From: 1, To: store.Cursor(server.URL()),
				Why: "the slice was widened"}); err != nil {
				t.Fatal(err)
			}
			server.Emit(1000) // past the archive
			f := begin(first, second)
			until(t, "what is new is filled", func() bool {
				server.Emit(5)
				gaps, err := store.Gaps(t.Context())
				return err == nil && len(gaps) == 0
			})
			settle(f)
			compareSetsWith(t, store, subjectModel(t, server, choice))

			begin(second).stop()
			if n, err := store.Purge(t.Context(), cfg.Slice.KeepsLink); err != nil || n == 0 {
				t.Fatalf("%d links are purged: %v", n, err)
			}
			settle(begin(second))
			compareSetsWith(t, store, subjectModel(t, server, choice))
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			store = openStore(t, dir) // the start replays the log
			compareSetsWith(t, store, subjectModel(t, server, choice))
		})
	}
}

// TestOtherRecordsCostNoRow: a record without a link in the slice adds nothing to the index, not even the name of its
// account.
func TestOtherRecordsCostNoRow(t *testing.T) {
	t.Parallel()
	server := serve(t, sim.ServerConfig{Backlog: 2000, EventsPerSegment: 500,
		NetworkConfig: sim.NetworkConfig{Accounts: 100, Seed: 4}})
	store := openStore(t, t.TempDir())
	defer store.Close()
	slice, err := ingest.NewSlice(ingest.SliceConfig{Subjects: []string{"did:web:unknown.example", "*.unknown.example"}})
	if err != nil {
		t.Fatal(err)
	}
	f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
		From:  ingest.From{Start: true},
		Slice: slice})
	untilCaughtUp(t, store, server)
	f.stop()
	statuses := 0
	if err := server.Replay(1, func(e sim.Event) error {
		if e.Kind == sim.KindAccount {
			statuses++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	st, err := store.Stats(t.Context())
	if err != nil || st.Links != 0 || st.Records != 0 || st.Actors > int64(statuses) || st.LastSeq > uint64(statuses) {
		t.Errorf("the index has %+v of %d changes of status, %v", st, statuses, err)
	}
}
