package ingest

import (
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// TestNewStart: the protocol and Config.From decide the start of a new index, which is stored before the first event.
func TestNewStart(t *testing.T) {
	t.Parallel()
	const us = 1_770_000_000_000_000
	const dialed = us + 1_000_000_000
	for _, tc := range []struct {
		name     string
		kind     string
		from     From
		mode     startMode
		cursor   uint64
		followed int64 // stored when the stream opens
	}{
		{"v1 from its tip", upstream.KindV1, From{}, startAtTip, 0, dialed},
		{"v1 from the start", upstream.KindV1, From{Start: true}, startAtOldest, 1, 0},
		{"v1 from a time", upstream.KindV1, From{US: us}, startAtOldest, us, us + 2*overlap.Microseconds()},
		{"v2 from its tip", upstream.KindV2, From{}, startAtTip, 0, dialed},
		{"v2 from the start", upstream.KindV2, From{Start: true}, startInArchive, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store, err := db.Open(db.Config{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			in := New(Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}}, Store: store, From: tc.from})
			h := in.hosts[0]
			h.SetKind(tc.kind)
			p, err := in.startPoint(t.Context(), h)
			if err != nil || p.mode != tc.mode || p.cursor != tc.cursor || p.inArchive != (tc.mode == startInArchive) ||
				!p.isNew {
				t.Fatalf("%+v, %v", p, err)
			}
			if tc.mode == startInArchive { // the archive was read to event 7, without a matching event
				p.moveTo(7)
			}
			if err := in.noteStart(h, &p, time.UnixMicro(dialed)); err != nil {
				t.Fatal(err)
			}
			wantCursor := uint64(0)
			if tc.mode == startInArchive {
				wantCursor = 7
			}
			if f := store.Followed(h.URL); store.LastFollowed() != h.URL || f.UntilUS != tc.followed ||
				store.Cursor(h.URL) != wantCursor {
				t.Errorf("stored: %+v, cursor %d", f, store.Cursor(h.URL))
			}
		})
	}
}
