package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream/dictionary"
)

// largeFrame returns a frame of a record with a link and size bytes of empty byte strings in JSON.
func largeFrame(kind string, pos, size int) []byte {
	record := `{"u":"https://example.com/a","l":[` + strings.Repeat(`{"$bytes":""},`, size/14) + `0]}`
	if kind == KindV1 {
		return fmt.Appendf(nil,
			`{"did":"did:web:a","time_us":%d,"kind":"commit","commit":{"rev":"3mdtsyunhbu22","operation":"create",`+
				`"collection":"app.example.a","rkey":"self","record":%s}}`, pos, record)
	}
	return fmt.Appendf(nil,
		`{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#commit","seq":%d,`+
			`"did":"did:web:a","time":"2026-07-01T00:00:00Z","rev":"3mdtsyunhbu22","operation":"create",`+
			`"collection":"app.example.a","rkey":"self","record":%s}}`, pos, record)
}

// sendFrames starts a server that sends frames on each live stream, and then waits for the client's close.
func sendFrames(t *testing.T, typ websocket.MessageType, frames [][]byte) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"xrpc.v1.json"}})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for _, f := range frames {
			if c.Write(r.Context(), typ, f) != nil {
				return
			}
		}
		_, _, _ = c.Read(r.Context())
	}))
	t.Cleanup(s.Close)
	return s
}

// TestLargeFrames: the largest frame of a valid record is read, of v1 and v2, as text or compressed. A larger frame is
// ErrNoEvent, and the next one is read.
func TestLargeFrames(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{KindV1, KindV2} {
		for _, compress := range []bool{false, true} {
			t.Run(fmt.Sprint(kind, ", compressed ", compress), func(t *testing.T) {
				t.Parallel()
				frames := [][]byte{largeFrame(kind, 1, 14_000_000), largeFrame(kind, 2, maxFrame), largeFrame(kind, 3, 0)}
				typ, dict := websocket.MessageText, []byte(nil)
				if compress {
					typ, dict = websocket.MessageBinary, dictionary.V1
					enc, err := zstd.NewWriter(nil, zstd.WithEncoderDict(dict), zstd.WithEncoderConcurrency(1))
					if err != nil {
						t.Fatal(err)
					}
					for i := range frames {
						frames[i] = enc.EncodeAll(frames[i], nil)
					}
				}
				s := sendFrames(t, typ, frames)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				l, err := Dial(ctx, Endpoint{URL: s.URL}, kind, dict, 0, Filter{})
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				var e Event
				if err := l.Next(ctx, &e); err != nil || e.Pos != 1 {
					t.Fatalf("the first is %d, %v", e.Pos, err)
				}
				links, err := extract.New(extract.Limits{}).JSON(e.JSON)
				if err != nil || len(links) != 1 {
					t.Errorf("%d links, %v", len(links), err)
				}
				if err := l.Next(ctx, &e); !errors.Is(err, ErrNoEvent) {
					t.Errorf("the second is %v", err)
				}
				if err := l.Next(ctx, &e); err != nil || e.Pos != 3 {
					t.Errorf("the third is %d, %v", e.Pos, err)
				}
				if cap(l.data)+cap(l.text) > 2*keepFrame {
					t.Errorf("%d bytes are kept", cap(l.data)+cap(l.text))
				}
			})
		}
	}
}
