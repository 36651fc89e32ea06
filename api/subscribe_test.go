package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/stream"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// live is a server over a growing store.
type live struct {
	*httptest.Server
	store *db.Store
	api   *server
	seq   int
	end   func() // ends all subscriptions
}

func startLive(t *testing.T, c Config) *live {
	t.Helper()
	store, err := db.Open(db.Config{Dir: t.TempDir(), Bodies: db.BodiesKeep})
	if err != nil {
		t.Fatal(err)
	}
	c.Store, c.Logger = store, slog.New(slog.DiscardHandler)
	api := New(c)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = api.Run(ctx) }()
	l := &live{store: store, api: api.server, Server: httptest.NewServer(api)}
	l.end = func() {
		cancel()
		select {
		case <-ran:
		case <-time.After(30 * time.Second):
			t.Error("subscribers are still there, half a minute after the end")
		}
	}
	t.Cleanup(func() {
		l.end()
		l.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// apply commits an event of alice's record.
func (l *live) apply(t *testing.T, op db.Op, rkey string, targets ...string) {
	t.Helper()
	l.seq++
	e := apply.Event{Seq: uint64(l.seq), TimeUS: time.Now().UnixMicro(), Op: op, DID: alice,
		Collection: "app.bsky.feed.like", Rkey: rkey,
		Rev: string(link.AppendTID(nil, uint64(l.seq)<<10))}
	for _, target := range targets {
		e.Links = append(e.Links, db.Link{Path: "subject.uri", Target: target})
		e.Body = []byte("\xa1\x61x\x63a\nb") // {"x":"a\nb"}
		if rkey == "float" {
			e.Body = []byte("\xa1\x61x\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00") // {"x":1.5}, which atproto forbids
		}
	}
	if op == db.OpAccount {
		e.Status = db.StatusDeactivated
	}
	if _, err := l.store.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
		t.Fatal(err)
	}
}

func (l *live) dial(t *testing.T, query string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, l.URL+"/subscribe?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// frame reads a frame and checks it against its definition.
func frame(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	kind, data, err := conn.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		t.Fatalf("%v %v", kind, err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if p := definitions.Check(&lexicons.Schema{Type: "ref", Ref: "dev.weft.stream.defs#frame"}, v, true); p != nil {
		t.Errorf("%v in %s", p, data)
	}
	return string(data)
}

// ended reads until the connection closes, and returns the code and the reason.
func ended(t *testing.T, conn *websocket.Conn) (code websocket.StatusCode, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			if ctx.Err() != nil {
				t.Fatal("the connection stays open")
			}
			var c websocket.CloseError
			if errorsAs(err, &c) {
				return c.Code, c.Reason
			}
			return -1, err.Error()
		}
	}
}

func errorsAs(err error, c *websocket.CloseError) bool {
	code := websocket.CloseStatus(err)
	if code == -1 {
		return false
	}
	text := err.Error()
	*c = websocket.CloseError{Code: code, Reason: text[strings.Index(text, "reason = ")+len("reason = "):]}
	return true
}

func TestSubscribeFrames(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	l.apply(t, db.OpCreate, "a", post)
	conn := l.dial(t, "instant=true&cursor=0&accounts=true")
	if got, want := frame(t, conn),
		`{"kind":"link","origin":"replay","link":{"operation":"create","source":"app.bsky.feed.like:subject.uri",`+
			`"source_record":"at://did:plc:alice/app.bsky.feed.like/a","source_rev":"2222222222322",`+
			`"subject":"at://did:plc:alice/app.bsky.feed.post/3kpost"},"cursor":1}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	l.apply(t, db.OpUpdate, "a", bob, "https://example.com/%22x")
	for _, want := range []string{`"delete"`, `"create"`, `"create"`} {
		got := frame(t, conn)
		cursor := dig(t, got, "cursor")
		if dig(t, got, "link operation") != want || dig(t, got, "origin") != `"live"` || cursor != "1" && cursor != "2" {
			t.Errorf("%s, want %s", got, want)
		}
	}
	l.apply(t, db.OpAccount, "")
	if got := frame(t, conn); dig(t, got, "account status") != `"deactivated"` || dig(t, got, "cursor") != "3" {
		t.Error(got)
	}
	l.end()
	if got := frame(t, conn); dig(t, got, "error") != `"ShuttingDown"` {
		t.Error(got)
	}
	if code, reason := ended(t, conn); code != websocket.StatusGoingAway || !strings.Contains(reason, "ShuttingDown") {
		t.Errorf("%d %s", code, reason)
	}
}

// TestSubscribeResumes: after a cursor in the middle of a row, all links of the row are sent again.
func TestSubscribeResumes(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	l.apply(t, db.OpCreate, "a", post, bob, carol)
	l.apply(t, db.OpCreate, "b", dave)
	conn := l.dial(t, "instant=true&cursor=0&wantedSubjectDids="+bob+"&wantedSubjects="+carol)
	if cursor := dig(t, frame(t, conn), "cursor"); cursor != "0" {
		t.Errorf("the first of two has the cursor %s", cursor)
	}
	if cursor := dig(t, frame(t, conn), "cursor"); cursor != "1" {
		t.Errorf("the last of two has the cursor %s", cursor)
	}
	again := l.dial(t, "instant=true&cursor=1")
	if got := frame(t, again); dig(t, got, "link subject") != `"did:plc:dave"` {
		t.Error(got)
	}
}

func TestOptionsUpdate(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	conn := l.dial(t, "instant=true&wantedSubjects="+post)
	update := `{"type":"options_update","payload":{"wantedSubjects":[],"wantedSubjectPrefixes":["https://exa"],` +
		`"wantedSubjectDids":[],"wantedSources":["app.bsky.feed.like:.subject.uri"]}}`
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(update)); err != nil {
		t.Fatal(err)
	}
	// The server applies the filter at some later time, so the test waits.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			time.Sleep(5 * time.Millisecond)
			l.apply(t, db.OpCreate, fmt.Sprint("k", i), page)
		}
	})
	if got := frame(t, conn); !strings.Contains(got, page) {
		t.Error(got)
	}
	cancel()
	feeding.Wait() // ends before the store closes
}

func TestEvents(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	l.apply(t, db.OpCreate, "a", post, bob)
	res, err := http.Get(l.URL + "/events?cursor=0&accounts=true&wantedSubjectDids=" + alice)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" ||
		res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v", res.Header)
	}
	lines := bufio.NewScanner(res.Body)
	next := func() (id, event, data string) {
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				id = value
			case "event":
				event = value
			case "data":
				data = value
			case "":
				if lines.Text() == "" && data != "" {
					var v any
					if err := json.Unmarshal([]byte(data), &v); err != nil {
						t.Fatal(err)
					}
					if p := definitions.Check(&lexicons.Schema{Type: "ref", Ref: "dev.weft.stream.defs#event"}, v, true); p != nil {
						t.Errorf("%v in %s", p, data)
					}
					return id, event, data
				}
			}
		}
		t.Fatal(lines.Err())
		return
	}
	if lines.Scan(); lines.Text() != "id: 0" {
		t.Errorf("it begins with %s", lines.Text())
	}
	id, event, data := next()
	if id != "1" || event != "record" || dig(t, data, "operation") != `"create"` ||
		dig(t, data, "added") != `[{"source":"app.bsky.feed.like:subject.uri","subject":"`+post+`"}]` ||
		dig(t, data, "removed") != "[]" {
		t.Errorf("%s %s %s", id, event, data)
	}
	l.apply(t, db.OpDelete, "a")
	if id, event, data = next(); id != "2" || dig(t, data, "operation") != `"delete"` ||
		dig(t, data, "removed 0 subject") != `"`+post+`"` || dig(t, data, "origin") != `"live"` {
		t.Errorf("%s %s %s", id, event, data)
	}
	l.apply(t, db.OpAccount, "")
	if id, event, data = next(); id != "3" || event != "account" || dig(t, data, "account active") != "false" {
		t.Errorf("%s %s %s", id, event, data)
	}
	l.end()
	if _, event, data = next(); event != "end" || dig(t, data, "error") != `"ShuttingDown"` {
		t.Errorf("%s %s", event, data)
	}
}

// TestHydratedEvents: events of existing records have their content if JSON can represent it; other events have none.
func TestHydratedEvents(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	l.apply(t, db.OpCreate, "gone", post)
	l.apply(t, db.OpDelete, "gone")
	l.apply(t, db.OpCreate, "float", post)
	for i := range db.MaxBodies + 5 {
		l.apply(t, db.OpCreate, fmt.Sprint("k", i), post)
	}
	res, err := http.Get(l.URL + "/events?cursor=0&hydrate=true&wantedSubjects=" + post)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	n := 0
	for n < db.MaxBodies+8 && lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e struct {
			Rkey  string
			CID   string
			Value map[string]string
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		if kept := strings.HasPrefix(e.Rkey, "k"); kept != (e.Value["x"] == "a\nb") || kept != (e.CID != "") {
			t.Errorf("%s", data)
		}
		n++
	}
	page := get(t, New(Config{Store: l.store}), own("getBacklinks", "subject", post, "source", like, "hydrate", "true",
		"limit", "100", "reverse", "true"))
	if n != db.MaxBodies+8 || strings.Count(page, `"value"`) != db.MaxBodies-1 {
		t.Errorf("%d events, and a page with %d values", n, strings.Count(page, `"value"`))
	}
}

// TestConsumerTooSlow: a client that reads nothing is disconnected, and one that reads late gets the reason.
func TestConsumerTooSlow(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{Streams: Streams{Config: stream.Config{Events: 50}}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: weft\r\n\r\n")
	in := bufio.NewReader(conn)
	for line := ""; line != "id: 0\n"; {
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	long := "https://example.com/" + strings.Repeat("x", 7000)
	// More than the buffers between server and client hold, and more than the tail holds.
	for range 10 {
		var events []apply.Event
		for range 250 {
			l.seq++
			events = append(events, apply.Event{Seq: uint64(l.seq), TimeUS: 1_770_000_000_000_000, Op: db.OpCreate, DID: alice,
				Collection: "app.bsky.feed.like",
				Rkey:       fmt.Sprint("k", l.seq), Rev: string(link.AppendTID(nil, uint64(l.seq)<<10)),
				Links: []db.Link{{Path: "subject.uri", Target: long}}})
		}
		if _, err := l.store.Apply(db.Batch{Host: "test", Events: events}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // the server fills the buffers
	}
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended without a word: %v", err)
		}
		if strings.HasPrefix(line, "data: ") && strings.Contains(line, `"error":"ConsumerTooSlow"`) {
			return
		}
	}
}

// FuzzUpdate reads any message: the result is a filter, or a reason that fits into a close frame. Allocations are
// bounded by the length of the message.
func FuzzUpdate(f *testing.F) {
	for _, seed := range []string{
		`{"type":"options_update","payload":{"wantedSubjects":["did:plc:a"],"wantedSources":["a.b.c:x"]}}`,
		`{"type":"options_update","payload":{"wantedSubjectDids":["\u0000"]}}`,
		`{}`, `[]`, "\xff", "\xc3", `{"type":"é` + strings.Repeat("é", 200) + `"}`, strings.Repeat("[", 1<<16),
		`{"payload":` + strings.Repeat(`{"a":`, 1<<14), `{"payload":{"wantedSubjects":[` + strings.Repeat(`0,`, 1<<16),
		`{"payload":{"x":[` + strings.Repeat(`[],`, 1<<16), `{"payload":{"wantedSubjects":[` +
			strings.Repeat(`"did:plc:a",`, 50_001)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		var filter stream.Filter
		var err error
		allocated := allocatedBy(func() { filter, err = readUpdate(strings.NewReader(message)) })
		// Each token allocates some memory in the decoder, at most 100 bytes per byte of the message.
		if most := uint64(1<<20 + 100*len(message)); allocated > most {
			t.Errorf("%d bytes allocated for a message of %d", allocated, len(message))
		}
		var bad *closing
		if err == nil {
			if size := filter.Match().Size(); size > int64(1<<10+32*len(message)) {
				t.Errorf("a filter of %d bytes of a message of %d", size, len(message))
			}
		} else if !errors.As(err, &bad) || len(bad.reason) > 123 || bad.reason == "" || !utf8.ValidString(bad.reason) ||
			bad.code == 0 {
			t.Fatalf("%v", err)
		}
	})
}

// allocatedBy returns the number of bytes allocated while f runs, also by other tests, which allocate little compared
// with the bounds.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAccountEvents: a stream has the changes of the accounts that its filter names, of all accounts without a filter,
// or of all that it requests.
func TestAccountEvents(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                                      "record account record end",
		"&wantedActors=" + alice:                "record account record end",
		"&wantedActors=" + bob:                  "end",
		"&wantedSubjects=" + post:               "record record end",
		"&wantedSubjectDids=" + bob:             "end",
		"&wantedSources=a.b.c:x":                "end",
		"&wantedCollections=app.bsky.feed.like": "record record end",
		"&wantedSources=a.b.c:x&accounts=true":  "account end",
		"&wantedSources=a.b.c:x&accounts=true&wantedActors=" + bob: "end",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			l := startLive(t, Config{})
			l.apply(t, db.OpCreate, "a", post)
			l.apply(t, db.OpAccount, "")
			l.apply(t, db.OpCreate, "b", post)
			res, err := http.Get(l.URL + "/events?cursor=0" + query)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			l.end()
			var kinds []string
			for lines := bufio.NewScanner(res.Body); lines.Scan(); {
				if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
					kinds = append(kinds, kind)
				}
			}
			if got := strings.Join(kinds, " "); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// TestSeqOfAnswers: an answer, also an error, has all rows up to the one in its header.
func TestSeqOfAnswers(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	for i := range 3 {
		query := "subject=" + post + "&source=app.bsky.feed.like:subject.uri"
		for path, status := range map[string]int{
			"/xrpc/blue.microcosm.links.getBacklinksCount?" + query: 200, "/xrpc/dev.weft.links.getBacklinks?" + query: 200,
			"/status": 200,
			"/links":  400, "/nothing": 404,
		} {
			res, err := http.Get(l.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if got := res.Header.Get(SeqHeader); got != fmt.Sprint(i) || res.StatusCode != status {
				t.Errorf("%s: %d with %q after %d rows", path, res.StatusCode, got, i)
			}
		}
		l.apply(t, db.OpCreate, fmt.Sprint("k", i), post)
	}
}
