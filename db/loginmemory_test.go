package db_test

import (
	"reflect"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestLogInMemory: the log reads the same from memory and from the file.
func TestLogInMemory(t *testing.T) {
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
		name  string
		op    db.Op
		rkey  string
		links []db.Link
	}{
		{"a create of a record with a link", db.OpCreate, tid, one},
		{"an update that adds two", db.OpUpdate, tid, three},
		{"an update that removes two", db.OpUpdate, tid, one},
		{"an update that replaces it", db.OpUpdate, tid, other},
		{"a delete", db.OpDelete, tid, nil},
		{"a create with three links", db.OpCreate, tid, three},
		{"a delete with three links", db.OpDelete, tid, nil},
		{"a create at a key that is no TID", db.OpCreate, "self", one},
		{"a create over another version", db.OpCreate, "self", other},
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
	s = open(t, dir)
	inFile, _, err := s.Log(t.Context(), 0, 1000)
	if err != nil || len(inFile) != len(steps) || !reflect.DeepEqual(inFile, inMemory) {
		t.Errorf("the log in the file is\n%+v, and was\n%+v, %v", inFile, inMemory, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	checkAll(t, dir)
}
