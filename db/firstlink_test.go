package db_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/migrations"
)

// TestFirstLink: a log row has its first link in itself if the link's rank is the TID's and its op follows from the
// row's, and the log reads the same from memory, from the file, and in the schema before.
func TestFirstLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	h := newHistory(0)
	tid := h.tid(1_770_000_000_000_000)
	one := []db.Link{{Path: "subject.uri", Target: "https://example.com/1"}}
	three := append(one[:1:1], db.Link{Path: "reply.root.uri", Target: "https://example.com/2"},
		db.Link{Path: "reply.parent.uri", Target: "https://example.com/3"})
	other := []db.Link{{Path: "subject.uri", Target: "https://example.com/4"}}
	steps := []struct {
		name        string
		op          db.Op
		rkey        string
		links       []db.Link
		inRow, more int
	}{
		{"a create of a record with a link", db.OpCreate, tid, one, 1, 0},
		{"an update that adds two", db.OpUpdate, tid, three, 1, 1},
		{"an update that removes two", db.OpUpdate, tid, one, 0, 2},
		{"an update that replaces it", db.OpUpdate, tid, other, 0, 2},
		{"a delete", db.OpDelete, tid, nil, 1, 0},
		{"a create with three links", db.OpCreate, tid, three, 1, 2},
		{"a delete with three links", db.OpDelete, tid, nil, 1, 2},
		{"a create at a key that is no TID", db.OpCreate, "self", one, 0, 1},
		{"a create over another version", db.OpCreate, "self", other, 0, 2},
	}
	for i, step := range steps {
		now := 1_770_000_000_000_000 + int64(i)
		if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{{Seq: uint64(i + 1), TimeUS: now, Op: step.op,
			DID: h.dids[0], Collection: "com.example.post", Rkey: step.rkey, Rev: h.tid(now),
			Links: step.links}}}); err != nil {
			t.Fatal(step.name, err)
		}
	}
	inMemory, _, err := s.Log(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	base := must(sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")))
	base.SetMaxOpenConns(1)
	defer base.Close()
	for i, step := range steps {
		var inRow, more int
		if err := base.QueryRow(`SELECT source IS NOT NULL, (SELECT count(*) FROM more_links WHERE id >> 12 = seq)
			FROM records WHERE seq = ?`, i+1).Scan(&inRow, &more); err != nil || inRow != step.inRow || more != step.more {
			t.Errorf("%s: %d links in the row and %d beside it, want %d and %d, %v", step.name, inRow, more, step.inRow,
				step.more, err)
		}
	}
	s = open(t, dir)
	inFile, _, err := s.Log(t.Context(), 0, 1000)
	if err != nil || len(inFile) != len(steps) || !reflect.DeepEqual(inFile, inMemory) {
		t.Errorf("the log in the file is\n%+v, and was\n%+v, %v", inFile, inMemory, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkAll(t, dir)
	links := linkDump(t, base)
	p := must(goose.NewProvider(goose.DialectSQLite3, base, migrations.FS, goose.WithDisableGlobalRegistry(true)))
	if _, err := p.DownTo(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if before := linkDump(t, base); before != links {
		t.Errorf("the schema before has the links\n%s, want\n%s", before, links)
	}
}

// linkDump returns all links of the log as text.
func linkDump(t *testing.T, base *sql.DB) string {
	t.Helper()
	rows := must(base.Query("SELECT id, op, source, hex(target), ifnull(rank, -1) FROM links ORDER BY id"))
	defer rows.Close()
	var dump strings.Builder
	for rows.Next() {
		var id, op, source, rank int64
		var target string
		if err := rows.Scan(&id, &op, &source, &target, &rank); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&dump, id>>12, id&4095, op, source, target, rank)
	}
	return dump.String()
}
