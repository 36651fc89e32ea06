package upstream

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"weft.dev/weft/ingest/extract"
)

// TestFrames: a malformed frame is ErrNoEvent, and a frame of an unknown kind ErrSkip.
func TestFrames(t *testing.T) {
	t.Parallel()
	const head = `{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#`
	for _, tc := range []struct {
		name, text string
		v1, v2     error
	}{
		{"nothing", ``, ErrNoEvent, ErrNoEvent},
		{"half an object", `{"did":`, ErrNoEvent, ErrNoEvent},
		{"an array", `[1,2,3]`, ErrNoEvent, ErrNoEvent},
		{"numbers for text", `{"did":7,"$type":"message","payload":{"seq":"x"},"kind":"commit","commit":[]}`, ErrNoEvent,
			ErrNoEvent},
		{"an unknown kind", `{"did":"did:web:a","time_us":1,"kind":"label"}`, ErrSkip, ErrNoEvent},
		{"an unknown envelope", `{"$type":"notice"}`, ErrNoEvent, ErrSkip},
		{"an unknown payload", head + `label","seq":1}}`, ErrNoEvent, ErrSkip},
		{"an info", head + `info","name":"OutdatedCursor"}}`, ErrNoEvent, ErrSkip},
		{"a commit without a number", head + `commit","did":"did:web:a","time":"2026-07-01T00:00:00Z","operation":"delete"}}`,
			ErrNoEvent, ErrNoEvent},
		{"a commit without a time", head + `commit","seq":1,"did":"did:web:a","operation":"delete"}}`, ErrNoEvent,
			ErrNoEvent},
		{"an unknown operation", head +
			`commit","seq":1,"did":"did:web:a","time":"2026-07-01T00:00:00Z","operation":"squash"}}`, ErrNoEvent, ErrNoEvent},
		{"an account without one", head + `account","seq":1,"did":"did:web:a","time":"2026-07-01T00:00:00Z"}}`, ErrNoEvent,
			ErrNoEvent},
		{"a commit without one", `{"did":"did:web:a","time_us":1,"kind":"commit"}`, ErrNoEvent, ErrNoEvent},
	} {
		var e Event
		if err := e.readV1([]byte(tc.text)); !errors.Is(err, tc.v1) {
			t.Errorf("%s: v1: %v", tc.name, err)
		}
		if err := e.readV2([]byte(tc.text)); !errors.Is(err, tc.v2) {
			t.Errorf("%s: v2: %v", tc.name, err)
		}
	}
	var said *StreamError
	if err := new(Event).readV2([]byte(`{"$type":"error","error":"ConsumerTooSlow","message":"m"}`)); !errors.As(err,
		&said) || said.Name != "ConsumerTooSlow" {
		t.Errorf("an error frame: %v", err)
	}
}

// FuzzFrames: no frame makes the decoders panic or take much memory, and an event has a position.
func FuzzFrames(f *testing.F) {
	f.Add(largeFrame(KindV1, 1, 100))
	f.Add(largeFrame(KindV2, 1, 100))
	f.Add([]byte(`{"did":"did:web:a","time_us":1,"kind":"commit","commit":{"operation":"create","record":{}}}`))
	f.Add([]byte(`{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#commit","seq":1,` +
		`"did":"did:web:a","time":"2026-07-01T00:00:00Z","operation":"create","record":{"a":1}}}`))
	f.Add([]byte(`{"did":"did:web:a","time_us":1,"kind":"commit","commit":{"operation":"create","record":{"a":[` +
		strings.Repeat(`[[["a:b"]]],`, 50) + `0]}}}`))
	f.Add(bytes.Repeat([]byte(`[`), 10_000))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, read := range []func(*Event, []byte) error{(*Event).readV1, (*Event).readV2} {
			var e Event
			var err error
			// A token of the tape takes 12 bytes for a byte of the record, a link 48 for five; buffers grow by
			// doubling.
			if took := allocated(func() {
				if err = read(&e, text); err == nil && e.JSON != nil {
					_, _ = extract.New(extract.Limits{}).JSON(e.JSON)
				}
			}); took > 1<<20+100*uint64(len(text)) {
				t.Errorf("%d bytes took %d of memory", len(text), took)
			}
			if err == nil && (e.Pos == 0 || e.DID == "") {
				t.Errorf("%s: %+v", text, e)
			}
		}
	})
}
