package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// FixtureLikes is how many accounts of a Fixture like FixturePost.
const (
	FixtureLikes = 1100
	FixturePost  = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaab/app.bsky.feed.post/3m2qrrgw22222"
)

// FixtureDID returns the DID of an account of a Fixture.
func FixtureDID(n int) string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	did := []byte("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	for i := len(did) - 1; n > 0; i, n = i-1, n/32 {
		did[i] = digits[n%32]
	}
	return string(did)
}

// Fixture returns the directory of an index of two segments and some log rows that none holds, with a bit of
// everything:
//
//	account 1         wrote the post that all like
//	accounts 2 to 1101 like it; of them
//	account 5         is deactivated, in the second segment
//	account 6         is deleted, in the second segment
//	accounts 7 to 9   have unliked it, in the second segment
//	account 11        has changed only the body of its like, behind the segments
func Fixture(t *testing.T) (dir string) {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), us: 1_770_000_000_000_000, rkeys: map[int]string{}}
	f.self(1, "https://example.com/")
	for n := 2; n < 2+FixtureLikes; n++ {
		f.like(db.OpCreate, n)
	}
	f.apply(1)
	for n := 7; n < 10; n++ {
		f.like(db.OpDelete, n)
	}
	f.add(apply.Event{Op: db.OpAccount, DID: FixtureDID(5), Status: db.StatusDeactivated})
	f.add(apply.Event{Op: db.OpAccount, DID: FixtureDID(6), Status: db.StatusDeleted})
	f.self(20, "https://example.com/")
	f.self(21, "https://example.org/")
	f.apply(2)
	f.like(db.OpUpdate, 11)
	f.like(db.OpDelete, 10)
	f.self(22, "https://example.net/")
	f.apply(0)
	return f.dir
}

// fixture is a Fixture in the making.
type fixture struct {
	t     *testing.T
	dir   string
	seq   uint64
	us    int64
	batch []apply.Event
	rkeys map[int]string // of the likes
}

// add adds an event to the batch.
func (f *fixture) add(e apply.Event) {
	f.seq++
	f.us += 1000
	e.Seq = f.seq
	e.TimeUS = f.us
	e.Rev = string(link.AppendTID(nil, uint64(f.us)<<10))
	if e.Op == db.OpCreate || e.Op == db.OpUpdate {
		e.Body = fmt.Appendf(nil, "the body of event %d", f.seq)
	}
	f.batch = append(f.batch, e)
}

func (f *fixture) like(op db.Op, n int) {
	if f.rkeys[n] == "" {
		f.rkeys[n] = string(link.AppendTID(nil, uint64(f.us)<<10))
	}
	f.add(apply.Event{Op: op, DID: FixtureDID(n), Collection: "app.bsky.feed.like", Rkey: f.rkeys[n],
		Links: []db.Link{{Path: "subject.uri", Target: FixturePost}}})
}

func (f *fixture) self(n int, target string) {
	f.add(apply.Event{Op: db.OpCreate, DID: FixtureDID(n), Collection: "app.bsky.actor.profile", Rkey: "self",
		Links: []db.Link{{Path: "website", Target: target}, {Path: "pinnedPost.uri", Target: FixturePost}}})
}

// apply applies the batch and waits until it is sealed into a segment, the sealed-th; 0: it stays in the log.
func (f *fixture) apply(sealed int) {
	f.t.Helper()
	cfg := db.Config{Dir: f.dir, SealBytes: 1 << 30, ReplayWindow: -1, Bodies: db.BodiesKeep}
	if sealed > 0 {
		cfg.SealBytes = 1
	}
	s, err := db.Open(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: f.batch}); err != nil {
		f.t.Fatal(err)
	}
	f.batch = nil
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		st, err := s.Stats(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if sealed == 0 || st.Segments == sealed && !st.Sealing && st.Jobs == 0 {
			break
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%d segments after a minute, want %d", st.Segments, sealed)
		}
	}
	if err := s.Close(); err != nil {
		f.t.Fatal(err)
	}
}

// Statements returns what changes weft.db behind the store's back. Each statement must change a row, or the schema.
// Statements may change the log by the tables of LogTables.
func Statements(all ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		base.SetMaxOpenConns(1) // the temporary tables are the connection's
		log := slices.ContainsFunc(all, logStatement.MatchString)
		if log {
			if err := LogTables(base); err != nil {
				t.Fatal(err)
			}
		}
		for _, statement := range all {
			var before, after int64
			if err := errors.Join(base.QueryRow("SELECT total_changes()").Scan(&before), exec(base, statement),
				base.QueryRow("SELECT total_changes()").Scan(&after)); err != nil {
				t.Fatal(err)
			}
			if before == after && !mayBeNoChange.MatchString(statement) {
				t.Fatalf("%s changed nothing", statement)
			}
		}
		if log {
			if err := PackLogTables(base); err != nil {
				t.Fatal(err)
			}
		}
	}
}

var (
	logStatement  = regexp.MustCompile(`\b(FROM|INTO|UPDATE) (records|links)\b`)
	mayBeNoChange = regexp.MustCompile("^(CREATE|DROP|ALTER) |DO NOTHING$")
)

func exec(base *sql.DB, statement string) error {
	_, err := base.Exec(statement)
	return err
}

// SegmentPath returns the path of the n-th segment, from 0 on.
func SegmentPath(t *testing.T, dir string, n int) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*.weft"))
	if err != nil || len(files) <= n {
		t.Fatal(files, err)
	}
	slices.Sort(files) // the first begins with 1-
	return files[n]
}

// Flip flips a bit of the byte at an offset of a file; a negative offset counts from the end.
func Flip(t *testing.T, path string, at int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += int64(len(data))
	}
	data[at] ^= 0x10
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
