package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"weft.dev/weft/api/stream"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// TestFramesAreWire: the hand-written messages of the streams have the bytes of their types in package wire.
func TestFramesAreWire(t *testing.T) {
	t.Parallel()
	entry := db.LogEntry{Seq: 1234, TimeUS: 1_770_000_000_000_000, Op: db.OpUpdate, DID: alice,
		Collection: "app.bsky.feed.like",
		Rkey:       "3lk", Rev: "3lr"}
	links := []stream.Link{
		{Removed: true, Source: "app.bsky.feed.like:subject.uri", Subject: "at://" + bob + "/app.bsky.feed.post/1"},
		{Source: "app.bsky.feed.like:a\"b\u00e9", Subject: "https://example.org/?a&b"},
	}
	event := &stream.Event{LogEntry: entry, Links: links}
	content := wire.Content{CID: "bafyrei", Value: json.RawMessage(`{"text":"a"}`)}
	deleted := entry
	deleted.Op = db.OpDelete
	suspended := entry
	suspended.Op, suspended.Status = db.OpAccount, db.StatusSuspended
	data := func(event []byte) []byte {
		_, data, _ := strings.Cut(string(event), "\ndata: ")
		return []byte(strings.TrimSuffix(data, "\n\n"))
	}
	for name, tc := range map[string]struct {
		frame []byte
		into  any
	}{
		"a link that comes":   {appendLink(nil, event, &links[1], true, false), &wire.LinkFrame{}},
		"a link that goes":    {appendLink(nil, event, &links[0], false, true), &wire.LinkFrame{}},
		"an account":          {appendAccountFrame(nil, &stream.Event{LogEntry: suspended}, false), &wire.AccountFrame{}},
		"event: a record":     {data(appendEvent(nil, event, []int{0, 1}, wire.Content{}, false)), &wire.Event{}},
		"event: with content": {data(appendEvent(nil, event, []int{1}, content, true)), &wire.Event{}},
		"event: nothing wanted": {data(appendEvent(nil, &stream.Event{LogEntry: deleted}, nil, wire.Content{}, true)),
			&wire.Event{}},
		"event: an account": {data(appendEvent(nil, &stream.Event{LogEntry: suspended}, nil, wire.Content{}, true)),
			&wire.Event{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := json.NewDecoder(bytes.NewReader(tc.frame))
			d.DisallowUnknownFields()
			if err := d.Decode(tc.into); err != nil {
				t.Fatalf("%v in %s", err, tc.frame)
			}
			if again := mustJSON(t, tc.into); !bytes.Equal(again, mustCompact(t, tc.frame)) {
				t.Errorf("the frame is\n%s\nand its type\n%s", tc.frame, again)
			}
		})
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mustCompact rewrites a frame with the escapes of json.Marshal.
func mustCompact(t *testing.T, frame []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, frame); err != nil {
		t.Fatal(err)
	}
	escaped := &bytes.Buffer{}
	json.HTMLEscape(escaped, out.Bytes())
	return escaped.Bytes()
}
