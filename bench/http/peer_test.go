package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/extract"
)

// TestLines checks that another server finds the links that the store has in the lines that are written for it.
func TestLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	w, err := createLines(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []db.Link{{Path: "reply.parent.uri", Target: special("a")}, {Path: "reply.root.uri", Target: special("b")}}
	event := apply.Event{TimeUS: 7, DID: did(1), Collection: "app.bsky.feed.post", Rkey: "3l", Rev: "3m", Links: want}
	if err := w.write([]apply.Event{event}); err != nil {
		t.Fatal(err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		DID    string `json:"did"`
		TimeUS int64  `json:"time_us"`
		Commit struct {
			Rev, Operation, Collection, Rkey string
			Record                           json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &line); err != nil {
		t.Fatal(err)
	}
	c := line.Commit
	if line.DID != event.DID || line.TimeUS != 7 || c.Rev != "3m" || c.Operation != "create" ||
		c.Collection != event.Collection || c.Rkey != "3l" {
		t.Fatalf("the line is %s", text)
	}
	found, err := extract.New(extract.Limits{}).JSON(c.Record)
	if err != nil {
		t.Fatal(err)
	}
	var got []db.Link
	for _, l := range found {
		got = append(got, db.Link{Path: string(l.Path), Target: string(l.Target)})
	}
	if !slices.Equal(got, want) {
		t.Errorf("the record has %v, not %v", got, want)
	}
}
