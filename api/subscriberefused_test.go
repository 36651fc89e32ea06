package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"weft.dev/weft/db"
)

// TestSubscribeAbuse: every invalid message gets a reason, and its resources are released.
func TestSubscribeAbuse(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("group", func(t *testing.T) {
		l := startLive(t, Config{})
		write := func(kind websocket.MessageType, text string) func(*websocket.Conn) error {
			return func(c *websocket.Conn) error { return c.Write(t.Context(), kind, []byte(text)) }
		}
		many := func(item string, n int) string {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, `,"`+item+`"`, i)
			}
			return b.String()[1:]
		}
		payload := func(text string) string { return `{"type":"options_update","payload":` + text + `}` }
		for _, c := range []struct {
			name string
			do   func(*websocket.Conn) error
			code websocket.StatusCode
			says string
		}{
			{"binary", write(websocket.MessageBinary, "{}"), websocket.StatusUnsupportedData, "text"},
			{"not JSON", write(websocket.MessageText, "hello"), websocket.StatusInvalidFramePayloadData, "not JSON"},
			{"empty", write(websocket.MessageText, ""), websocket.StatusInvalidFramePayloadData, "not JSON"},
			{"not UTF-8", write(websocket.MessageText, "{\"type\":\"\xff\"}"), websocket.StatusInvalidFramePayloadData, "UTF-8"},
			{"not an object", write(websocket.MessageText, "[]"), websocket.StatusPolicyViolation, "object"},
			{"no type", write(websocket.MessageText, `{"payload":{}}`), websocket.StatusPolicyViolation, "`type` is missing"},
			{"another type", write(websocket.MessageText, `{"type":"x","payload":{}}`), websocket.StatusPolicyViolation,
				"`type` must be one of"},
			{"no payload", write(websocket.MessageText, `{"type":"options_update"}`), websocket.StatusPolicyViolation,
				"`payload` is missing"},
			{"payload null", write(websocket.MessageText, payload("null")), websocket.StatusPolicyViolation,
				"`payload` must be an object"},
			{"not a list", write(websocket.MessageText, payload(`{"wantedSources":"x"}`)), websocket.StatusPolicyViolation,
				"wantedSources"},
			{"a number", write(websocket.MessageText, payload(`{"wantedSubjects":[1]}`)), websocket.StatusPolicyViolation,
				"wantedSubjects[0]"},
			{"no DID", write(websocket.MessageText, payload(`{"wantedSubjectDids":["x"]}`)), websocket.StatusPolicyViolation,
				"wantedSubjectDids"},
			{"no source", write(websocket.MessageText, payload(`{"wantedSources":["x"]}`)), websocket.StatusPolicyViolation,
				"wantedSources"},
			{"NUL", write(websocket.MessageText, payload(`{"wantedSubjectPrefixes":["a\u0000"]}`)),
				websocket.StatusPolicyViolation, "NUL"},
			{"too many sources", write(websocket.MessageText, payload(`{"wantedSources":[`+many("a.b.c:x%d", 1001)+`]}`)),
				websocket.StatusPolicyViolation, "the limit is 1000"},
			{"too many prefixes", write(websocket.MessageText, payload(`{"wantedSubjectPrefixes":[`+many("x%d", 101)+`]}`)),
				websocket.StatusPolicyViolation, "the limit is 100"},
			{"too many DIDs", write(websocket.MessageText, payload(`{"wantedSubjectDids":[`+many("did:plc:n%d", 10_001)+`]}`)),
				websocket.StatusPolicyViolation, "the limit is 10000"},
			{"too many subjects", write(websocket.MessageText, payload(`{"wantedSubjects":[`+many("did:plc:n%d", 50_001)+`]}`)),
				websocket.StatusPolicyViolation, "the limit is 50000"},
			{"too large", write(websocket.MessageText, strings.Repeat(" ", maxMessage+1)), websocket.StatusMessageTooBig, ""},
			{"a flood", func(c *websocket.Conn) (err error) {
				for range messageBurst + 20 {
					if err := c.Write(t.Context(), websocket.MessageText, []byte(payload("{}"))); err != nil {
						return nil // closed already
					}
				}
				return nil
			}, websocket.StatusPolicyViolation, "too many messages"},
			{"a flood of pings", func(c *websocket.Conn) (err error) {
				go func() {
					for range messageBurst + 20 {
						ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
						_ = c.Ping(ctx)
						cancel()
					}
				}()
				return nil
			}, websocket.StatusPolicyViolation, "too many pings"},
			{"half a frame", func(c *websocket.Conn) error {
				w, err := c.Writer(t.Context(), websocket.MessageText)
				if err == nil {
					_, err = w.Write([]byte(`{"type":`))
				}
				go func() { time.Sleep(50 * time.Millisecond); _ = c.CloseNow() }()
				return err
			}, -1, ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				conn := l.dial(t, "instant=true")
				if err := c.do(conn); err != nil && c.code != websocket.StatusMessageTooBig {
					t.Fatal(err)
				}
				code, reason := ended(t, conn)
				if code != c.code && !(c.code == websocket.StatusMessageTooBig && code == -1) ||
					!strings.Contains(reason, c.says) && code != -1 {
					t.Errorf("closed with %d %s", code, reason)
				}
			})
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		http.DefaultClient.CloseIdleConnections()
		if now := runtime.NumGoroutine(); now <= before+2 {
			break
		} else if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after\n%s", before, now, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestSubscribeRefusals(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	l.apply(t, db.OpCreate, "a", post)
	for query, name := range map[string]string{"cursor=2": "FutureCursor", "cursor=9999999999999999": "FutureCursor"} {
		conn := l.dial(t, query)
		if got := frame(t, conn); dig(t, got, "error") != `"`+name+`"` {
			t.Error(got)
		}
		if code, reason := ended(t, conn); code != websocket.StatusPolicyViolation ||
			!strings.HasPrefix(strings.Trim(reason, `"`), name) {
			t.Errorf("%d %s", code, reason)
		}
	}
	status := func(path string, headers ...string) (int, string) {
		r, _ := http.NewRequest("GET", l.URL+path, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var a struct{ Error string }
		_ = json.NewDecoder(res.Body).Decode(&a)
		return res.StatusCode, a.Error
	}
	for _, c := range []struct {
		path    string
		headers []string
		status  int
		name    string
	}{
		{"/subscribe", nil, 426, "UpgradeRequired"},
		{"/subscribe?cursor=2", nil, 426, "UpgradeRequired"},
		{"/events?cursor=2", nil, 400, "FutureCursor"},
		{"/events", []string{"Last-Event-ID", "2"}, 400, "FutureCursor"},
		{"/events", []string{"Last-Event-ID", "x"}, 400, "InvalidRequest"},
		{"/events?cursor=1&cursor=1", []string{"Last-Event-ID", "1"}, 400, "InvalidRequest"},
	} {
		if code, name := status(c.path, c.headers...); code != c.status || name != c.name {
			t.Errorf("%s %v: %d %s", c.path, c.headers, code, name)
		}
	}
}

// TestSubscriberLimit: subscribers are limited per address and in total.
func TestSubscriberLimit(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{AddressHeader: "X-Forwarded-For", Streams: Streams{PerAddress: 2, Total: 3}})
	from := func(address string) (*http.Response, error) {
		r, _ := http.NewRequest("GET", l.URL+"/events", nil)
		r.Header.Set("X-Forwarded-For", "6.6.6.6, "+address)
		return http.DefaultClient.Do(r)
	}
	for _, c := range []struct {
		address string
		status  int
	}{{"1.1.1.1", 200}, {"1.1.1.1", 200}, {"1.1.1.1", 429}, {"2001:db8::1", 200}, {"2.2.2.2", 429}} {
		res, err := from(c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%s: %d", c.address, res.StatusCode)
		}
	}
}
