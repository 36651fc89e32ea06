package db_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/extract"
)

// realEvents reads 152 events of the public network.
func realEvents(t *testing.T) []apply.Event {
	t.Helper()
	return v1Events(t, "../ingest/extract/testdata/events-152.jsonl")
}

// v1Events reads events in Jetstream's v1 form.
func v1Events(t *testing.T, path string) []apply.Event {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	x := extract.New(extract.Limits{})
	var events []apply.Event
	for sc := bufio.NewScanner(file); sc.Scan(); {
		var in struct {
			DID    string
			TimeUS int64 `json:"time_us"`
			Commit struct {
				Rev, Operation, Collection, Rkey string
				Record                           json.RawMessage
			}
			Account struct {
				Active bool
				Status string
			}
			Kind string
		}
		if err := json.Unmarshal(sc.Bytes(), &in); err != nil {
			t.Fatal(err)
		}
		e := apply.Event{Seq: uint64(len(events) + 1), TimeUS: in.TimeUS, DID: in.DID, Rev: in.Commit.Rev,
			Collection: in.Commit.Collection, Rkey: in.Commit.Rkey}
		switch in.Kind {
		case "commit":
			e.Op = map[string]db.Op{"create": db.OpCreate, "update": db.OpUpdate,
				"delete": db.OpDelete}[in.Commit.Operation]
			if e.Op != db.OpDelete {
				links, err := x.JSON(in.Commit.Record)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range links {
					e.Links = append(e.Links, db.Link{Path: string(l.Path), Target: string(l.Target)})
				}
			}
		case "account":
			e.Op = db.OpAccount
			if !in.Account.Active {
				e.Status = map[string]db.Status{"deactivated": db.StatusDeactivated,
					"deleted": db.StatusDeleted}[in.Account.Status]
			}
		default:
			continue
		}
		events = append(events, e)
	}
	return events
}

// TestRealEvents holds the index of 152 real events against counts made by hand: there are 105 likes, 15 reposts, 17
// posts of which 8 are replies, 6 follows and a block; 18 likes and 6 reposts say through which repost they came.
func TestRealEvents(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	events := realEvents(t)
	if _, err := s.Apply(db.Batch{Host: "real", Events: events}); err != nil {
		t.Fatal(err)
	}
	var m dbtest.Model
	bySource := map[db.Source]int64{}
	for _, e := range events {
		m.Apply(e)
		for _, l := range e.Links {
			bySource[db.Source{Collection: e.Collection, Path: l.Path}]++
		}
	}
	for source, want := range map[db.Source]int64{
		{Collection: "app.bsky.feed.like", Path: "subject.uri"}:                                            105,
		{Collection: "app.bsky.feed.like", Path: "via.uri"}:                                                18,
		{Collection: "app.bsky.feed.repost", Path: "subject.uri"}:                                          15,
		{Collection: "app.bsky.feed.repost", Path: "via.uri"}:                                              6,
		{Collection: "app.bsky.feed.post", Path: "reply.parent.uri"}:                                       8,
		{Collection: "app.bsky.feed.post", Path: "reply.root.uri"}:                                         8,
		{Collection: "app.bsky.feed.post", Path: "embed.external.uri"}:                                     3,
		{Collection: "app.bsky.feed.post", Path: "facets[].features[app.bsky.richtext.facet#link].uri"}:    4,
		{Collection: "app.bsky.graph.follow", Path: "subject"}:                                             6,
		{Collection: "app.bsky.graph.block", Path: "subject"}:                                              1,
		{Collection: "app.bsky.actor.status", Path: "embed.external.uri"}:                                  1,
		{Collection: "app.bsky.feed.post", Path: "facets[].features[app.bsky.richtext.facet#mention].did"}: 0,
		{Collection: "fm.teal.alpha.actor.status", Path: "item.originUrl"}:                                 0,
		{Collection: "app.bsky.feed.post", Path: "embed.record.uri"}:                                       0,
	} {
		if bySource[source] != want {
			t.Errorf("%v: %d links, want %d", source, bySource[source], want)
		}
	}
	st, err := s.Stats(t.Context())
	if err != nil || st.Links != 175 || st.Records != 140 {
		t.Errorf("%d links of %d records (%v), want 175 of 140", st.Links, st.Records, err)
	}
	root := "at://did:plc:u4lmvw4wwzaql3z5kcf3r7h4/app.bsky.feed.post/3mptbyospqk2i"
	if n, err := s.CountLinks(t.Context(), root,
		db.Source{Collection: "app.bsky.feed.post", Path: "reply.root.uri"}); n != 2 || err != nil {
		t.Errorf("the thread with two replies has %d, %v", n, err)
	}
	if err := m.Compare(t.Context(), s, dbtest.Depth{Page: 2, Many: true}); err != nil {
		t.Error(err)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := db.Open(db.Config{Dir: dir}); err == nil ||
		!strings.Contains(err.Error(), "another weft has "+dir+" open") {
		t.Errorf("a second open says %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Error(err)
	}
}

// TestOddDirectories: the database lies in its directory, however that is named.
func TestOddDirectories(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a?b", "a#b", "a%41", "a b", "ä&c=d"} {
		dir := filepath.Join(t.TempDir(), name)
		s := open(t, dir)
		if _, err := s.Apply(db.Batch{Host: "real", Events: realEvents(t)}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "weft.db-wal")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		if st := must(s.Stats(t.Context())); st.Links != 175 {
			t.Errorf("%q: %d links", name, st.Links)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusals: what can't be a database of this weft's is refused, with the reason.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, statement, want string
	}{
		{"a newer schema", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)",
			"run the weft version that wrote it, or a newer one"},
		{"another migration", "UPDATE meta SET value = 'x' WHERE key LIKE 'migration:%'",
			"was made by another migration"},
		{"a block of another format", "UPDATE log SET rows = CAST(x'02' || substr(rows, 2) AS BLOB)", "its format is not 1"},
		{"a block that lacks its end", "UPDATE log SET rows = CAST(substr(rows, 1, length(rows) - 1) AS BLOB)", "is damaged"},
		{"a block of other rows", "UPDATE log SET first = first + 1", "it has"},
		{"a link that went twice", "UPDATE links SET op = 0 WHERE id = (SELECT min(id) FROM links)", "leaves"},
		{"a log row of a kind that is not known", "UPDATE records SET op = 99 WHERE seq = 1", "unknown op 99"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			if _, err := s.Apply(db.Batch{Host: "real", Events: realEvents(t)}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dbtest.Statements(tc.statement)(t, dir)
			s, err := db.Open(db.Config{Dir: dir})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("refused with %q, want %q in it", err, tc.want)
			}
		})
	}
}

// TestDamagedFile: a file that is no database is refused, and left as it is.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "weft.db")
	garbage := strings.Repeat("this is no database. ", 500)
	if err := os.WriteFile(path, []byte(garbage), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := db.Open(db.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "weft restore --force") {
		if err == nil {
			s.Close()
		}
		t.Errorf("opened, or refused with %v", err)
	}
	if left, err := os.ReadFile(path); err != nil || string(left) != garbage {
		t.Errorf("the file was changed (%v)", err)
	}
}

// TestWriteFaultLatches: after a fault of the database nothing is written any more, nothing of the failed batch is
// seen, and queries go on; a restart has all that was committed before.
func TestWriteFaultLatches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	events := realEvents(t)
	if _, err := s.Apply(db.Batch{Host: "real", Events: events[:75]}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Statements(
		"CREATE TRIGGER fault BEFORE INSERT ON upstream BEGIN SELECT RAISE(ABORT, 'a fault after the rows'); END")(t, dir)
	for range 2 {
		if _, err := s.Apply(db.Batch{Host: "real", Events: events[75:]}); !errors.Is(err, db.ErrFailed) {
			t.Fatalf("applied with %v", err)
		}
		// the fault going away must not start writing again
		dbtest.Statements("CREATE VIEW IF NOT EXISTS noise AS SELECT 1")(t, dir)
	}
	if s.Failed() == nil {
		t.Error("the store does not say that it failed")
	}
	after, err := s.Stats(t.Context())
	if err != nil || after.Links != before.Links || after.Failed == "" {
		t.Errorf("%d links before the fault, %d after it (%v), failed: %q", before.Links, after.Links, err,
			after.Failed)
	}
	if got := s.Cursor("real"); got != events[74].Seq {
		t.Errorf("the cursor is %d, not %d", got, events[74].Seq)
	}
	size := walSize(t, dir)
	if err := s.Checkpoint(); !errors.Is(err, db.ErrFailed) {
		t.Errorf("checkpointed with %v", err)
	}
	if now := walSize(t, dir); now != size || size == 0 {
		t.Errorf("the WAL had %d bytes, and %d after the checkpoint", size, now)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dbtest.Statements("DROP TRIGGER fault")(t, dir)
	s = open(t, dir)
	defer s.Close()
	var m dbtest.Model
	for _, e := range events[:75] {
		m.Apply(e)
	}
	if err := m.Compare(t.Context(), s, dbtest.Depth{Page: 10}); err != nil {
		t.Error(err)
	}
}

func walSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "weft.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestCloseTwice: a second Close, at once or later, does nothing.
func TestCloseTwice(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	var closing errgroup.Group
	for range 4 {
		closing.Go(s.Close)
	}
	if err := errors.Join(closing.Wait(), s.Close()); err != nil {
		t.Error(err)
	}
}

// TestReadLog: the log is read over one connection, so that readers are left for others.
func TestReadLog(t *testing.T) {
	t.Parallel()
	s := openWith(t, db.Config{Dir: t.TempDir(), Bodies: db.BodiesKeep})
	defer s.Close()
	a, err := s.Apply(db.Batch{Host: "real", Events: realEvents(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it would wait for ever for a second connection
	defer cancel()
	if rows, links, err := s.ReadLogOverOne(ctx); err != nil || rows != a.Changed || links != a.Added+a.Removed ||
		rows == 0 {
		t.Errorf("read %d rows and %d links of %+v: %v", rows, links, a, err)
	}
}

// TestRestartKeeps: names, times and cursors are those from before a restart, and a log seq is never used twice.
func TestRestartKeeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	events := realEvents(t)
	if _, err := s.Apply(db.Batch{Host: "a", Events: events[:100], Seq: 100, TimeUS: events[99].TimeUS}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddGap(db.Gap{Host: "a", From: 7, To: 9, Why: "a test"}); err != nil {
		t.Fatal(err)
	}
	// Events that concern nothing still move the cursor.
	if _, err := s.Apply(db.Batch{Host: "a", Seq: 250, TimeUS: events[99].TimeUS + 1}); err != nil {
		t.Fatal(err)
	}
	instance, before := s.Instance(), must(s.Stats(t.Context()))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	after := must(s.Stats(t.Context()))
	if s.Instance() != instance || s.Cursor("a") != 250 || s.Cursor("b") != 0 {
		t.Errorf("instance %s, cursors %d and %d", s.Instance(), s.Cursor("a"), s.Cursor("b"))
	}
	if after.StartedUS != events[0].TimeUS || after.StartedUS != before.StartedUS || after.LastSeq != before.LastSeq ||
		after.Gaps != 1 {
		t.Errorf("before the restart %+v, after it %+v", before, after)
	}
	gaps := must(s.Gaps(t.Context()))
	if len(gaps) != 1 || gaps[0].From != 7 || gaps[0].To != 9 || gaps[0].Why != "a test" || gaps[0].FoundUS == 0 {
		t.Errorf("gaps: %+v", gaps)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestCheckpointWaitsForNobody: while another program reads the database, as a replicator does, the WAL grows, commits
// go on at once, and queries and figures are answered; when it has gone, the WAL is emptied.
func TestCheckpointWaitsForNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	other, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM log").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(db.Batch{Host: "real", Events: realEvents(t)}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.Checkpoint(); err == nil || !strings.Contains(err.Error(), "holds the WAL") {
		t.Errorf("the checkpoint says %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the checkpoint waited %s", took)
	}
	if st := must(s.Stats(t.Context())); st.Links != 175 {
		t.Errorf("%d links", st.Links)
	}
	if _, err := s.Apply(db.Batch{Host: "real", Seq: 1000, TimeUS: 1}); err != nil {
		t.Error(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "weft.db-wal")); err != nil || info.Size() != 0 {
		t.Errorf("the WAL has %d bytes (%v)", info.Size(), err)
	}
}
