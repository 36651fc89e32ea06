package db_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/link"
	"weft.dev/weft/migrations"
)

// likeAt is a like of an account at a time of the upstream.
func likeAt(seq uint64, did string, at time.Time) apply.Event {
	return apply.Event{Seq: seq, TimeUS: at.UnixMicro(), Op: db.OpCreate, DID: did, Collection: "app.bsky.feed.like",
		Rkey: fmt.Sprint("r", seq),
		Rev:  string(link.AppendTID(nil, uint64(at.UnixMicro())<<10)), Links: []db.Link{{Path: "subject",
			Target: "https://example.com/"}}}
}

// TestFollowed: which upstream was followed last, and until when, is a fact that is kept, and doesn't follow from
// times.
func TestFollowed(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	open := func() *db.Store {
		t.Helper()
		s, err := db.Open(db.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if s.LastFollowed() != "" || s.ReachedTime() != 0 {
		t.Errorf("a new index followed %q and reached %d", s.LastFollowed(), s.ReachedTime())
	}
	begun := db.Followed{UntilUS: now.UnixMicro()}
	if err := s.SetFollowed("a", "v1", begun); err != nil {
		t.Fatal(err)
	}
	if s.LastFollowed() != "a" || s.Followed("a") != begun || s.Cursor("a") != 0 || s.UpstreamKind("a") != "v1" {
		t.Errorf("begun: %q, %+v, %d, %q", s.LastFollowed(), s.Followed("a"), s.Cursor("a"), s.UpstreamKind("a"))
	}
	commit := func(host string, e apply.Event) {
		t.Helper()
		if _, err := s.Apply(db.Batch{Host: host, Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	commit("a", likeAt(1, "did:web:a.example", now.Add(24*time.Hour))) // its clock is far ahead
	if s.Followed("a") != (db.Followed{}) {
		t.Errorf("the beginning is still noted: %+v", s.Followed("a"))
	}
	commit("b", likeAt(7, "did:web:b.example", now.Add(-time.Minute)))
	if s.LastFollowed() != "b" || s.ReachedTime() != now.Add(-time.Minute).UnixMicro() {
		t.Errorf("%q was followed last, until %d", s.LastFollowed(), s.ReachedTime())
	}
	until := db.Followed{UntilUS: now.UnixMicro(), ClockUS: -5}
	for _, f := range []db.Followed{until, {UntilUS: until.UntilUS - 1, ClockUS: -5}} { // it never goes back
		if err := s.SetFollowed("b", "v2", f); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if s.LastFollowed() != "b" || s.Followed("b") != until || s.Cursor("b") != 7 || s.Cursor("a") != 1 {
			t.Errorf("%q, %+v, %d, %d", s.LastFollowed(), s.Followed("b"), s.Cursor("b"), s.Cursor("a"))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open()
	}
	commit("a", likeAt(2, "did:web:a.example", now.Add(24*time.Hour)))
	if reached := s.ReachedTime(); s.LastFollowed() != "a" || reached > time.Now().UnixMicro() {
		t.Errorf("back at the first: %q, %d", s.LastFollowed(), reached)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOutlier: an event that is dated a day ahead says nothing of the time of others: it ends no resync.
func TestOutlier(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const did = "did:web:a.example"
	rev := string(link.AppendTID(nil, uint64(now.UnixMicro())<<10))
	first, second := likeAt(1, did, now.Add(-time.Minute)), likeAt(2, did, now.Add(-time.Minute))
	again := likeAt(5, did, now)
	again.Rkey, again.Rev = first.Rkey, rev
	for _, e := range []apply.Event{first, second,
		{Seq: 3, TimeUS: now.UnixMicro(), Op: db.OpSync, DID: did, Rev: rev},
		likeAt(4, "did:web:b.example", now.Add(24*time.Hour)),
		again} {
		if _, err := s.Apply(db.Batch{Host: "a", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
		if st, err := s.Stats(t.Context()); err != nil || e.Seq > 3 && st.Links != 3 {
			t.Errorf("after event %d: %+v, %v", e.Seq, st, err)
		}
	}
	if newest := s.NewestTime(); newest != now.UnixMicro() {
		t.Errorf("the newest time is %d, want %d", newest, now.UnixMicro())
	}
}

// TestOutlierInFeed: links of events that are dated ahead are in the feed and in the part of it since a time, also from
// segments, and their removals count, whatever the times of the segments' other events.
func TestOutlierInFeed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cfg := db.Config{Dir: t.TempDir(), SealBytes: 1, CacheBytes: 1 << 16}
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	var m dbtest.Model
	like := func(seq uint64, at time.Time) apply.Event {
		e := likeAt(seq, "did:web:a.example", at)
		e.Links[0].Target = "at://did:web:b.example/app.bsky.feed.post/" + fmt.Sprint(seq%3)
		return e
	}
	remove := like(5, now.Add(30*time.Second))
	remove.Op, remove.Rkey, remove.Links = db.OpDelete, "r3", nil
	for i, e := range []apply.Event{like(1, now.Add(-time.Minute)), like(2, now.Add(24*time.Hour)),
		like(3, now.Add(26*time.Hour)), like(4, now), remove, like(6, now.Add(time.Minute))} {
		m.Apply(e)
		if _, err := s.Apply(db.Batch{Host: "a", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
		for s.Sealing() {
			time.Sleep(time.Millisecond)
		}
		if i == 2 {
			err := s.Close()
			if err != nil {
				t.Fatal(err)
			}
			s = openWith(t, cfg)
		}
		if err := m.Compare(t.Context(), s, sampled(2)); err != nil {
			t.Fatalf("after event %d: %v", e.Seq, err)
		}
	}
}

// TestForget: an index that holds nothing begins anew; one that holds something does not.
func TestForget(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(db.Batch{Host: "a", Seq: 9, TimeUS: now.UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddGap(db.Gap{Host: "a", From: 1, To: 2}); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		gaps, err := s.Gaps(t.Context())
		st, statsErr := s.Stats(t.Context())
		if s.LastFollowed() != "" || s.Cursor("a") != 0 || s.ReachedTime() != 0 || s.NewestTime() != 0 ||
			st.StartedUS != 0 || len(gaps) > 0 || err != nil || statsErr != nil {
			t.Errorf("%q, %d, %d, %+v, %+v, %v, %v", s.LastFollowed(), s.Cursor("a"), s.ReachedTime(), st, gaps, err,
				statsErr)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = db.Open(db.Config{Dir: dir}); err != nil {
			t.Fatal(err)
		}
	}
	defer s.Close()
	if _, err := s.Apply(db.Batch{Host: "a", Events: []apply.Event{likeAt(1, "did:web:a.example", now)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(); err == nil || s.Cursor("a") != 1 {
		t.Errorf("an index with a link is forgotten: %v", err)
	}
}

// TestMigrations: an index of any older schema goes on where it was. User names and passwords leave it.
func TestMigrations(t *testing.T) {
	t.Parallel()
	for _, from := range schemaVersions(t) {
		t.Run(fmt.Sprint(from), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			old, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
			if err != nil {
				t.Fatal(err)
			}
			p, err := goose.NewProvider(goose.DialectSQLite3, old, migrations.FS, goose.WithDisableGlobalRegistry(true))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.UpTo(t.Context(), from); err != nil {
				t.Fatal(err)
			}
			for _, q := range []string{
				`INSERT INTO upstream (host, kind, seq, high_seq, time_us) VALUES ('https://a.example', 'v2', 100, 120, 1782864000000000),
					('https://me:p@ss/word@a.example', 'v2', 90, 130, 1782864000000000), ('https://me:secret@b.example:8443', 'v2', 70, 70, 1782864000000000)`,
				`INSERT INTO gaps (host, from_seq, to_seq, why, state, found_us) VALUES ('https://me:secret@b.example:8443', 1, 2, 'x', 'open', 1)`,
			} {
				if from >= 5 { // passwords are gone
					break
				}
				if _, err := old.Exec(q); err != nil {
					t.Fatal(err)
				}
			}
			if from == 4 {
				if _, err := old.Exec("UPDATE upstream SET cursor_us = seq"); err != nil {
					t.Fatal(err)
				}
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := db.Open(db.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if from >= 5 {
				return
			}
			if len(s.Upstreams()) != 2 || s.Cursor("https://a.example") != 100 ||
				s.Cursor("https://b.example:8443") != 70 {
				t.Errorf("%+v", s.Upstreams())
			}
			if last := s.LastFollowed(); last != "https://a.example" || s.Followed(last) != (db.Followed{}) {
				t.Errorf("%q was followed last, until %+v", last, s.Followed(last))
			}
			gaps, err := s.Gaps(t.Context())
			if err != nil || len(gaps) != 1 || gaps[0].Host != "https://b.example:8443" {
				t.Errorf("%+v, %v", gaps, err)
			}
			var high uint64 // what the other spelling had seen may be a repeat
			raw, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?mode=ro")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			if err := raw.QueryRow("SELECT high_seq FROM upstream WHERE host = 'https://a.example'").Scan(&high); err != nil ||
				high != 130 {
				t.Errorf("the highest number is %d, %v", high, err)
			}
		})
	}
}
