package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/db"
)

// TestMessageBombs: twenty concurrent messages of 5 MB are read only as far as they are valid filters, a few at a time,
// and their memory is freed.
func TestMessageBombs(t *testing.T) {
	l := startLive(t, Config{})
	bomb := []byte(`{"type":"options_update","payload":{"wantedSubjects":[` + strings.Repeat(`[],`, (maxMessage-200)/3) +
		`[]]}}`)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var clients sync.WaitGroup
	for range 20 {
		conn := l.dial(t, "instant=true")
		clients.Go(func() {
			_ = conn.Write(t.Context(), websocket.MessageText, bomb) // refused after its first items
			code, reason := ended(t, conn)
			if code != websocket.StatusPolicyViolation && code != -1 {
				t.Errorf("%d %s", code, reason)
			}
		})
	}
	clients.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 100<<20 { // whole, they would take 2.6 GB
		t.Errorf("%d MB were allocated", allocated>>20)
	}
}

// TestLongMessagesWaitForRoom: a host's long messages are read concurrently up to its share of the memory. A short
// message doesn't wait.
func TestLongMessagesWaitForRoom(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{Memory: 4 * hostPart * maxMessage}) // share for one message
	half := `{"type":"options_update","payload":{"wantedSubjects":["did:plc:` + strings.Repeat("a", 8000) + `"`
	slow := l.dial(t, "instant=true")
	w, err := slow.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, half)
	for range 200 { // read at some time, and then none waits
		if l.api.memory.Try(budget.ClientOf("127.0.0.1"), 2*maxMessage) == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	short := l.dial(t, "instant=true")
	if err := short.Write(t.Context(), websocket.MessageText, []byte(`{"type":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if code, _ := ended(t, short); code != websocket.StatusPolicyViolation {
		t.Errorf("a short message waits: %d", code)
	}
}

// TestFiltersAreBounded: a host's filters stay within its share, and a freed filter makes room for the next.
func TestFiltersAreBounded(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	l.api.filters = budget.New(budget.Config{Total: 4_500_000, PerHost: 1_500_000})
	update := func(n int) []byte {
		var b strings.Builder
		b.WriteString(`{"type":"options_update","payload":{"wantedSubjects":["did:plc:x"`)
		for i := range n {
			fmt.Fprintf(&b, `,"did:plc:n%d"`, i)
		}
		return []byte(b.String() + `]}}`)
	}
	free := l.api.filters.Free()
	wait := func(left int64) {
		t.Helper()
		for range 500 {
			if l.api.filters.Free() == left {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%d bytes are free, not %d", l.api.filters.Free(), left)
	}
	first := l.dial(t, "instant=true")
	large := update(49_000) // 64Ki hashes of 16 bytes
	if err := first.Write(t.Context(), websocket.MessageText, large); err != nil {
		t.Fatal(err)
	}
	wait(free - 1<<20)
	second := l.dial(t, "instant=true")
	if err := second.Write(t.Context(), websocket.MessageText, large); err != nil {
		t.Fatal(err)
	}
	if code, reason := ended(t, second); code != websocket.StatusPolicyViolation ||
		!strings.HasPrefix(reason, `"TooManyFilters`) {
		t.Errorf("%d %s", code, reason)
	}
	if err := first.Write(t.Context(), websocket.MessageText, update(5)); err != nil {
		t.Fatal(err)
	}
	wait(free)
	third := l.dial(t, "instant=true")
	if err := third.Write(t.Context(), websocket.MessageText, large); err != nil {
		t.Fatal(err)
	}
	wait(free - 1<<20)
	_ = third.CloseNow()
	wait(free)
}

// TestSlowBodies: a body that does not arrive holds memory for a bounded time, a host stays within its share, and all
// memory is given back.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	api := New(Config{Store: indexed, Logger: slog.New(slog.DiscardHandler), Timeout: 300 * time.Millisecond,
		AddressHeader: "X-From",
		Memory:        2 * hostPart * 2 * 2 * maxBody}) // share for two bodies
	srv := httptest.NewServer(api)
	defer srv.Close()
	free := api.server.memory.Free()
	post := func(from string, body io.Reader) int {
		r, _ := http.NewRequest("POST", srv.URL+batch, body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-From", from)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0 // the server closed the connection
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	var slow sync.WaitGroup
	for range 10 {
		slow.Go(func() {
			r, w := io.Pipe()
			defer w.Close()
			go func() { _, _ = w.Write([]byte(`{"pairs":[`)) }()
			if code := post("1.1.1.1", r); code == 200 {
				t.Error("half a body is answered")
			}
		})
	}
	large := `{"subjects":["` + post1 + `"],"sources":["` + like + `"],"x":"` + strings.Repeat("x", 100_000) + `"}`
	if code := post("2.2.2.2", strings.NewReader(large)); code != 200 {
		t.Errorf("another host's body: %d", code)
	}
	slow.Wait()
	for range 500 {
		if api.server.memory.Free() == free {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d bytes are free, not %d", api.server.memory.Free(), free)
}

const post1 = "at://did:plc:alice/app.bsky.feed.post/3kpost"

// TestSubscribeIsAdmittedFirst: a client without a WebSocket or without room in the subscriber limit causes no read of
// the log.
func TestSubscribeIsAdmittedFirst(t *testing.T) {
	t.Parallel()
	looked := 0
	h := serve(Config{Store: looksIntoLog{indexed, func() { looked++ }}, Streams: Streams{PerAddress: 1, Total: 1}})
	api := h.(*Server)
	time := fmt.Sprint(1_700_000_000_000_001)
	if w := do(h, "GET", "/subscribe?cursor="+time); w.Code != 426 {
		t.Errorf("%d", w.Code)
	}
	leave := api.AdmitStream(httptest.NewRecorder(), newRequest("/events"))
	for _, path := range []string{"/subscribe", "/events"} {
		if w := do(h, "GET", path+"?cursor="+time, "Sec-WebSocket-Key", "x"); w.Code != 429 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if leave(); looked != 0 {
		t.Errorf("the log was looked into %d times", looked)
	}
}

type looksIntoLog struct {
	fake
	look func()
}

func (l looksIntoLog) SeqAt(context.Context, int64) (uint64, error) {
	l.look()
	return 0, nil
}

// TestSourcesPages: the pages of sources together are the whole list, for each route that has them.
func TestSourcesPages(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	for _, path := range []string{"/links/all?" + form("target", post), "/links/all/count?" + form("target", post),
		own("getAccountCounts", "did", alice)} {
		whole := get(t, h, path)
		n, cursor := 0, ""
		for {
			page := get(t, h, path+"&limit=1"+cursor)
			n += strings.Count(page, "subject") + strings.Count(page, "reply.parent.uri") + strings.Count(page, ":list") +
				strings.Count(page, "embed.external")
			var a struct{ Cursor *string }
			if err := json.Unmarshal([]byte(page), &a); err != nil {
				t.Fatal(err)
			}
			if a.Cursor == nil {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(*a.Cursor)
		}
		want := strings.Count(whole, "subject") + strings.Count(whole, "reply.parent.uri") + strings.Count(whole, ":list") +
			strings.Count(whole, "embed.external")
		if n != want || n == 0 {
			t.Errorf("%s: pages name %d sources, the whole %d", path, n, want)
		}
	}
	all := get(t, h, "/links/all?"+form("target", post, "limit", "1"))
	if w := do(h, "GET", "/links/all/count?"+form("target", post, "cursor",
		strings.Trim(dig(t, all, "cursor"), `"`))); w.Code != 400 {
		t.Errorf("a cursor of another path: %d", w.Code)
	}
}

// largeBodies is a store with records of half a megabyte of control characters, which are six times as long in JSON.
type largeBodies struct{ fake }

func (largeBodies) Bodies(_ context.Context, records []db.Record) ([]db.Body, error) {
	bodies := make([]db.Body, len(records))
	text := strings.Repeat("\x01", 500_000)
	for i := range bodies {
		bodies[i] = db.Body{CID: "bafyreib", CBOR: append([]byte("\xa1\x61x\x7a\x00\x07\xa1\x20"), text...)}
	}
	return bodies, nil
}

// TestHydrateIsBounded: a page ends after 4 MB of content with a cursor of the rest, and all pages together are the
// whole list.
func TestHydrateIsBounded(t *testing.T) {
	t.Parallel()
	h := serve(Config{Store: largeBodies{many(12)}})
	n, cursor := 0, ""
	for pages := 0; ; pages++ {
		page := get(t, h, own("getBacklinks", "subject", post, "source", like, "hydrate", "true", "limit", "100")+cursor)
		if len(page) > maxContents+1<<20 {
			t.Fatalf("a page of %d bytes", len(page))
		}
		n += strings.Count(page, `"value"`)
		next := dig(t, page, "cursor")
		if next == "null" {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(strings.Trim(next, `"`))
		if pages > 20 {
			t.Fatal("the pages have no end")
		}
	}
	if n != 12 {
		t.Errorf("%d records have content", n)
	}
}

// lateBodies is a store that returns content for only one part of a page before the timeout.
type lateBodies struct {
	fake
	parts *atomic.Int64
}

func (s lateBodies) Bodies(ctx context.Context, records []db.Record) ([]db.Body, error) {
	if s.parts.Add(1) > 1 {
		return nil, context.DeadlineExceeded
	}
	return s.fake.Bodies(ctx, records)
}

// TestLateContent: a page whose content can't be read before the timeout is a 503 Timeout.
func TestLateContent(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		own("getBacklinks", "subject", post, "source", like, "hydrate", "true", "limit", "100"),
		own("getAccountBacklinks", "did", alice, "hydrate", "true", "limit", "100"),
	} {
		for parts := range int64(2) { // the first or the second part fails
			var read atomic.Int64
			read.Store(1 - parts)
			h := serve(Config{Store: lateBodies{many(2 * bodiesAtOnce), &read}})
			if w := do(h, "GET", path); w.Code != http.StatusServiceUnavailable ||
				!strings.Contains(w.Body.String(), "Timeout") {
				t.Errorf("%s, part %d: %d %s", path, parts, w.Code, w.Body)
			}
			if read.Load() != 2 {
				t.Errorf("%s, part %d: %d parts are read", path, parts, read.Load())
			}
		}
	}
}

// stuck is a client that reads nothing.
type stuck struct {
	*httptest.ResponseRecorder
	reads <-chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	<-s.reads
	return len(p), nil
}

// TestUnreadAnswersAreBounded: unread answers stay within a host's share of the memory and hold no slot, and another
// host gets its answers.
func TestUnreadAnswersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Store: many(1000), Logger: slog.New(slog.DiscardHandler), AddressHeader: "X-From",
			Memory: 2 * hostPart * 500_000})
		free := h.server.memory.Free()
		list := xrpc("getBacklinks", "subject", post, "source", like, "limit", "1000")
		reads := make(chan struct{})
		var clients sync.WaitGroup
		busy := 0
		var mu sync.Mutex
		for range 30 {
			clients.Go(func() {
				r := newRequest(list)
				r.Header.Set("X-From", "1.1.1.1")
				w := stuck{httptest.NewRecorder(), reads}
				go func() { <-t.Context().Done() }()
				h.ServeHTTP(w, r)
				mu.Lock()
				defer mu.Unlock()
				if w.Code == 503 {
					busy++
				}
			})
		}
		synctest.Wait()
		if held := free - h.server.memory.Free(); held == 0 || held > 500_000 {
			t.Errorf("%d bytes are held", held)
		}
		if w := do(h, "GET", list, "X-From", "2.2.2.2"); w.Code != 200 {
			t.Errorf("another host: %d %s", w.Code, w.Body)
		}
		close(reads)
		clients.Wait()
		if busy == 0 || h.server.memory.Free() != free {
			t.Errorf("%d were refused, %d bytes are free of %d", busy, h.server.memory.Free(), free)
		}
	})
}

// TestDocumentsAreMadeOnce: a document is generated and compressed once, and its encodings have the same content.
func TestDocumentsAreMadeOnce(t *testing.T) {
	h := serve(Config{})
	plain := do(h, "GET", "/openapi.json")
	for _, encoding := range []string{"gzip", "zstd"} {
		w := do(h, "GET", "/openapi.json", "Accept-Encoding", encoding)
		if w.Header().Get("Content-Encoding") != encoding || bytes.Equal(w.Body.Bytes(), plain.Body.Bytes()) {
			t.Errorf("%s: %v", encoding, w.Header())
		}
		if w := do(h, "GET", "/openapi.json", "Accept-Encoding", encoding, "If-None-Match",
			w.Header().Get("ETag")); w.Code != 304 {
			t.Errorf("%s: %d", encoding, w.Code)
		}
	}
	if allocated := testing.AllocsPerRun(20, func() { do(h, "GET", "/openapi.json") }); allocated > 200 {
		t.Errorf("%v allocations for a document", allocated)
	}
}
