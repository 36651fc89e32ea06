package check_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/logrow"
)

// makeDamageable makes makeFixture's index with one more account. Its log rows 1109 to 1111 and 1112, a like by account
// 1102, are in no segment.
func makeDamageable(t *testing.T) (dir string) {
	t.Helper()
	dir = dbtest.Fixture(t)
	s, err := db.Open(db.Config{Dir: dir, Bodies: db.BodiesKeep})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{likeBehind(5000)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// likeBehind returns a like by an account that makeFixture lacks, after all events of makeFixture.
func likeBehind(n int) apply.Event {
	return apply.Event{Seq: uint64(n), TimeUS: 1_790_000_000_000_000, Op: db.OpCreate, DID: dbtest.FixtureDID(n),
		Collection: "app.bsky.feed.like",
		Rkey:       "late", Rev: "3zzzzzzzzzz22", Links: []db.Link{{Path: "subject.uri", Target: dbtest.FixturePost}}}
}

// flipTarget flips one bit of the account in a link row's target. The result is a valid target.
func flipTarget(id string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		base.SetMaxOpenConns(1)
		if err := dbtest.LogTables(base); err != nil {
			t.Fatal(err)
		}
		var target []byte
		if err := base.QueryRow("SELECT target FROM links WHERE id = " + id).Scan(&target); err != nil {
			t.Fatal(err)
		}
		if target[0] != codec.TagAccount {
			t.Fatalf("link row %s has the target %x", id, target)
		}
		target[2] ^= 4
		if _, err := base.Exec("UPDATE links SET target = ? WHERE id = "+id, target); err != nil {
			t.Fatal(err)
		}
		if err := dbtest.PackLogTables(base); err != nil {
			t.Fatal(err)
		}
	}
}

// damages each change one bit or byte in a copy of makeFixture's index, in rows that a segment covers and in rows that
// a start replays.
var damages = []struct {
	name     string
	damage   func(t *testing.T, dir string)
	replayed bool
	want     string
}{
	{"a bit of a link's target, replayed", flipTarget("(SELECT max(id) FROM links WHERE substr(target, 1, 1) = x'01')"),
		true,
		"log rows 1109 to 1112 or their links are damaged"},
	{"a byte of a DID, replayed", dbtest.Statements("UPDATE actors SET did = did || 'a' WHERE id = 1102"), true,
		"the names of accounts 1102 to 1102 are"},
	{"a time, replayed",
		dbtest.Statements("UPDATE records SET time_us = time_us + 64 WHERE seq = (SELECT max(seq) FROM records)"), true,
		"log rows 1109 to 1112"},
	{"a record key, replayed",
		dbtest.Statements("UPDATE records SET rkey = rkey + 1 WHERE seq = (SELECT max(seq) - 1 FROM records)"), true, ""},
	{"a bit of a link's target, sealed", flipTarget("200 << 12"), false, "log rows 1 to 1101"},
	{"a byte of a DID, sealed", dbtest.Statements("UPDATE actors SET did = did || 'a' WHERE id = 50"), false,
		"accounts 1 to 1101"},
	{"a path, sealed", dbtest.Statements("UPDATE sources SET path = 'subject.urj' WHERE path = 'subject.uri'"), false,
		"sources 1 to"},
	{"a collection, sealed",
		dbtest.Statements("UPDATE collections SET nsid = 'app.bsky.feed.lika' WHERE nsid = 'app.bsky.feed.like'"), false,
		"collections 1 to"},
	{"a rank, sealed", dbtest.Statements("UPDATE links SET rank = 5 WHERE id = 300 << 12"), false, "log rows 1 to 1101"},
	{"a log row and its links that are gone, sealed",
		dbtest.Statements("DELETE FROM links WHERE id >> 12 = 1103", "DELETE FROM records WHERE seq = 1103"), false, ""},
	{"the checksum of a segment in the manifest",
		dbtest.Statements("UPDATE segments SET log_checksum = log_checksum + 1 WHERE from_seq = 1"), false,
		"the checksum of the log up to row 1101 in the manifest's row of"},
	{"a status", dbtest.Statements("UPDATE actors SET status = 2 WHERE id = 5"), true, "the statuses of accounts"},
	{"the time of a status", dbtest.Statements("UPDATE actors SET since_us = since_us + 1 WHERE id = 5"), true,
		"the statuses of accounts"},
	{"the checksum of the last commit",
		dbtest.Statements("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'log_checksum'"), true,
		"log rows 1109 to 1112"},
}

// TestDamagedRows: a check, a sample, a restore, a verification, a follower and a start find one wrong bit in a row of
// the log, a link or a name, if they read the row, and report the row.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	whole := makeDamageable(t)
	for _, tc := range damages {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			tc.damage(t, dir)
			for _, o := range []check.Options{{}, {All: true}} {
				r, err := check.Run(t.Context(), dir, o)
				if err != nil {
					t.Fatal(err)
				}
				said := []string{}
				for _, p := range r.Problems {
					said = append(said, p.Text)
				}
				if text := strings.Join(said, "\n"); len(said) == 0 || !strings.Contains(text, tc.want) {
					t.Errorf("a check of everything (%v) says %q, want %q in it", o.All, text, tc.want)
				}
			}
			faults, err := check.File(t.Context(), filepath.Join(dir, "weft.db"))
			if text := strings.Join(faults, "\n"); err != nil || len(faults) == 0 || !strings.Contains(text, tc.want) {
				t.Errorf("a restore says %q, %v, want %q in it", text, err, tc.want)
			}
			looks := map[string]func() error{
				"a follower": func() error {
					f, err := db.OpenFollower(db.FollowerConfig{Dir: dir})
					if err != nil {
						return err
					}
					_, _, err = f.Refresh(t.Context())
					return errors.Join(err, f.Close())
				},
				"a start": func() error {
					s, err := db.Open(db.Config{Dir: dir})
					if err == nil {
						err = s.Close()
					}
					return err
				},
			}
			for name, look := range looks {
				err := look()
				if !tc.replayed && tc.name != "the checksum of a segment in the manifest" {
					if err != nil {
						t.Errorf("%s, which doesn't read the row: %v", name, err)
					}
					continue
				}
				if err == nil || tc.want != "" && tc.replayed &&
					(!errors.Is(err, logrow.ErrDamaged) || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("%s says %v, want %q in it", name, err, tc.want)
				}
			}
		})
	}
}

// TestDamageReachesFollower: a running follower finds damage in the rows that it applies.
func TestDamageReachesFollower(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f, err := db.OpenFollower(db.FollowerConfig{Dir: dir, Owned: false})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, _, err := f.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := f.Seq()
	if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{likeBehind(5000)}}); err != nil {
		t.Fatal(err)
	}
	flipTarget("(SELECT max(id) FROM links)")(t, dir)
	for range 2 {
		_, _, err = f.Refresh(t.Context())
		if !errors.Is(err, logrow.ErrDamaged) || !strings.Contains(err.Error(),
			fmt.Sprintf("to %d or their links are damaged", at+1)) {
			t.Errorf("refreshed with %v", err)
		}
		if f.Seq() != at {
			t.Errorf("it shows log row %d", f.Seq())
		}
	}
}

// TestBelongs: a segment of another index is refused under either name, even with a complete log, and is not removed.
func TestBelongs(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	dbtest.Statements("UPDATE meta SET value = 'ANOTHER' WHERE key = 'instance'")(t, dir)
	s, err := db.Open(db.Config{Dir: dir})
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "but weft.db is index ANOTHER") {
		t.Errorf("opened with %v", err)
	}
	dbtest.SegmentPath(t, dir, 1) // both still exist
	f, err := db.OpenFollower(db.FollowerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, _, err := f.Refresh(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "but weft.db is index ANOTHER") {
		t.Errorf("followed with %v", err)
	}
}

// BenchmarkVerifyChecksums measures the checksums of a log row, its link and a name, in a cached index.
func BenchmarkVerifyChecksums(b *testing.B) {
	dir := b.TempDir()
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const likes = 20_000
	events := make([]apply.Event, likes)
	for i := range events {
		events[i] = apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
			DID:        dbtest.FixtureDID(i + 1),
			Collection: "app.bsky.feed.like",
			Rkey:       "3m2qrrgw22222", Rev: "3m2qrrgw22222", Links: []db.Link{{Path: "subject.uri",
				Target: dbtest.FixturePost}}}
	}
	if _, err := s.Apply(db.Batch{Host: "bench", Events: events}); err != nil {
		b.Fatal(err)
	}
	r, err := db.OpenReadOnly(dir, false)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for b.Loop() {
		sum := logrow.Adder{Q: r.Core().Reader}
		if _, err := sum.Log(b.Context(), 0, likes); err != nil {
			b.Fatal(err)
		}
		upTo := logrow.NameBounds{Actors: likes, Collections: 1, Sources: 1}
		if _, err := sum.Names(b.Context(), logrow.NameBounds{}, upTo); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/likes, "ns/like")
}
