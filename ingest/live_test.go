package ingest

import (
	"bytes"
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

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/wire"
)

// largeFrame is a frame of a record that is size bytes of empty byte strings in JSON, and links to something.
func largeFrame(kind string, pos, size int) []byte {
	record := `{"u":"https://example.com/a","l":[` + strings.Repeat(`{"$bytes":""},`, size/14) + `0]}`
	if kind == kindV1 {
		return fmt.Appendf(nil, `{"did":"did:web:a","time_us":%d,"kind":"commit","commit":{"rev":"3mdtsyunhbu22","operation":"create","collection":"app.example.a","rkey":"self","record":%s}}`, pos, record)
	}
	return fmt.Appendf(nil, `{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#commit","seq":%d,"did":"did:web:a","time":"2026-07-01T00:00:00Z","rev":"3mdtsyunhbu22","operation":"create","collection":"app.example.a","rkey":"self","record":%s}}`, pos, record)
}

// sendFrames is a server that sends frames on each live stream, and then waits for the client to go.
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

// TestLargeFrames: what one record of the protocol can become is read, of either wire, as text or compressed; a frame that
// is larger is no event, and the next one is read.
func TestLargeFrames(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{kindV1, kindV2} {
		for _, compress := range []bool{false, true} {
			t.Run(fmt.Sprint(kind, ", compressed ", compress), func(t *testing.T) {
				t.Parallel()
				frames := [][]byte{largeFrame(kind, 1, 14_000_000), largeFrame(kind, 2, maxFrame), largeFrame(kind, 3, 0)}
				typ, dict := websocket.MessageText, []byte(nil)
				if compress {
					typ, dict = websocket.MessageBinary, wire.DictionaryV1
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
				l, err := dialLive(ctx, endpoint{url: s.URL}, kind, dict, 0, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer l.close()
				var e event
				if err := l.next(ctx, &e); err != nil || e.pos != 1 {
					t.Fatalf("the first is %d, %v", e.pos, err)
				}
				links, err := extract.New(extract.Limits{}).JSON(e.json)
				if err != nil || len(links) != 1 {
					t.Errorf("%d links, %v", len(links), err)
				}
				if err := l.next(ctx, &e); !errors.Is(err, errNoEvent) {
					t.Errorf("the second is %v", err)
				}
				if err := l.next(ctx, &e); err != nil || e.pos != 3 {
					t.Errorf("the third is %d, %v", e.pos, err)
				}
				if cap(l.data)+cap(l.text) > 2*keepFrame {
					t.Errorf("%d bytes are kept", cap(l.data)+cap(l.text))
				}
			})
		}
	}
}

// TestQueueLinks: links make a batch ready, and the reader wait, as text does.
func TestQueueLinks(t *testing.T) {
	t.Parallel()
	var record strings.Builder
	record.WriteString(`{"a":[""`)
	for i := range 1000 {
		fmt.Fprintf(&record, `,"a:%x"`, i)
	}
	record.WriteString(`]}`)
	q := newQueue(1000, time.Hour)
	x, n := extract.New(extract.Limits{}), 0
	add := func() {
		n++
		e := event{did: "did:web:a", pos: uint64(n), op: db.OpCreate, collection: "app.example.a", rkey: "self", json: []byte(record.String())}
		if err := q.add(t.Context(), func(b *batch) { _ = b.add(&e, x, nil) }); err != nil {
			t.Fatal(err)
		}
	}
	for !q.isFull() {
		if add(); n > 100 {
			t.Fatal("the reader goes on")
		}
	}
	b := q.take(t.Context()) // long before it is old
	if b == nil || b.seen != n || b.cost() > ahead*batchBytes+1000*300 || b.text.size > n*10_000 {
		t.Fatalf("a batch of %d events of %d costs %d, with %d bytes of text", b.seen, n, b.cost(), b.text.size)
	}
	q.done(b)
	if cap(b.links) > 2*keepLinks {
		t.Errorf("memory for %d links is kept", cap(b.links))
	}
	// A whole batch waits for room in bytes too.
	for range ahead - 1 {
		full := &batch{seen: 1}
		full.links = make([]db.Link, 2*keepLinks)
		if err := q.push(t.Context(), full); err != nil {
			t.Fatal(err)
		}
		if q.cost >= ahead*batchBytes {
			break
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.push(ended, &batch{seen: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a batch is queued behind %d bytes: %v", q.cost, err)
	}
	for range 2 {
		b := q.take(t.Context())
		q.done(b)
	}
	if q.cost != 0 {
		t.Errorf("%d bytes are left", q.cost)
	}
}

// FuzzFrames: no frame makes the decoders panic or take much memory, and an event has a place.
func FuzzFrames(f *testing.F) {
	f.Add(largeFrame(kindV1, 1, 100))
	f.Add(largeFrame(kindV2, 1, 100))
	f.Add([]byte(`{"did":"did:web:a","time_us":1,"kind":"commit","commit":{"operation":"create","record":{}}}`))
	f.Add([]byte(`{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#commit","seq":1,"did":"did:web:a","time":"2026-07-01T00:00:00Z","operation":"create","record":{"a":1}}}`))
	f.Add([]byte(`{"did":"did:web:a","time_us":1,"kind":"commit","commit":{"operation":"create","record":{"a":[` + strings.Repeat(`[[["a:b"]]],`, 50) + `0]}}}`))
	f.Add(bytes.Repeat([]byte(`[`), 10_000))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, read := range []func(*event, []byte) error{(*event).readV1, (*event).readV2} {
			var e event
			var err error
			// A token of the tape takes 12 bytes for a byte of the record, a link 48 for five; buffers grow by doubling.
			if took := allocated(func() {
				if err = read(&e, text); err == nil && e.json != nil {
					_, _ = extract.New(extract.Limits{}).JSON(e.json)
				}
			}); took > 1<<20+100*uint64(len(text)) {
				t.Errorf("%d bytes took %d of memory", len(text), took)
			}
			if err == nil && (e.pos == 0 || e.did == "") {
				t.Errorf("%s: %+v", text, e)
			}
		}
	})
}
