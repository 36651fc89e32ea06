package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// stream is a Jetstream server with events, numbers and times of the test. sim generates its own.
type stream struct {
	*httptest.Server
	v2    bool
	mute  bool             // answer no ping
	probe http.HandlerFunc // answers requests of the dictionary; nil: as the kind does

	mu      sync.Mutex
	events  []sent
	changed chan struct{}
	away    bool
	conns   []*websocket.Conn
	asked   []http.Request // subscriptions
	pings   int
}

type sent struct {
	seq uint64
	us  int64
	did string
}

func newStream(t *testing.T, s *stream) *stream {
	t.Helper()
	s.changed = make(chan struct{})
	s.Server = &httptest.Server{Listener: newPipes(t), Config: &http.Server{Handler: s}}
	s.Start()
	t.Cleanup(func() {
		s.setAway(true)
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// didOf returns the DID of a test's account.
func didOf(n int) string { return fmt.Sprintf("did:web:a%d.example", n) }

// send sends a like by an account, with the next number.
func (s *stream) send(account int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := uint64(100)
	if n := len(s.events); n > 0 {
		seq = s.events[n-1].seq + 1
	}
	s.events = append(s.events, sent{seq, at.UnixMicro(), didOf(account)})
	s.wake()
}

func (s *stream) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// forget drops the oldest n events.
func (s *stream) forget(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = slices.Clone(s.events[n:])
}

// setAway drops and refuses all connections, or accepts them again.
func (s *stream) setAway(away bool) {
	s.mu.Lock()
	conns := s.conns
	s.away, s.conns = away, nil
	s.wake()
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.CloseNow()
	}
}

// counts returns the number of subscriptions with and without a filter, and of pings.
func (s *stream) counts() (filtered, all, pings int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.asked {
		if q := s.asked[i].URL.Query(); len(q["wantedDids"])+len(q["dids"]) > 0 {
			filtered++
		}
	}
	return filtered, len(s.asked), s.pings
}

func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	away := s.away
	s.mu.Unlock()
	path := "/subscribe"
	if s.v2 {
		path = "/xrpc/network.bsky.jetstream.subscribeEvents"
	}
	switch {
	case away:
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == path:
		s.subscribe(w, r)
	case strings.HasSuffix(r.URL.Path, ".getZstdDictionary") && s.probe != nil:
		s.probe(w, r)
	case strings.HasSuffix(r.URL.Path, ".getZstdDictionary") && s.v2:
		_, _ = w.Write([]byte{0x37, 0xA4, 0x30, 0xEC, 0, 0, 0, 0}) // it identifies v2, but is invalid
	case s.v2:
		w.WriteHeader(http.StatusUnauthorized) // its archive requires a key
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *stream) subscribe(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	cursor, _ := strconv.ParseUint(q.Get("cursor"), 10, 64) // 0 without one
	s.mu.Lock()
	at := len(s.events)
	if byTime := !s.v2 || cursor >= db.MinTimeCursor; cursor > 0 &&
		(!byTime || cursor <= uint64(time.Now().UnixMicro())) {
		at = slices.IndexFunc(s.events, func(e sent) bool {
			return byTime && e.us >= int64(cursor) || !byTime &&
				e.seq >= cursor
		})
		if at < 0 {
			at = len(s.events)
		}
		if !byTime && len(s.events) > 0 && cursor < s.events[0].seq && s.events[0].seq > 100 {
			s.mu.Unlock()
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"CursorTooOld","message":"below the floor"}`)
			return
		}
	}
	next := uint64(100)
	if at < len(s.events) {
		next = s.events[at].seq
	} else if at > 0 {
		next = s.events[at-1].seq + 1
	}
	s.asked = append(s.asked, *r)
	s.mu.Unlock()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"xrpc.v1.json"},
		OnPingReceived: func(context.Context, []byte) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.pings++
			return !s.mute
		}})
	if err != nil {
		return
	}
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	defer c.CloseNow()
	dids := append(q["wantedDids"], q["dids"]...)
	for ctx := c.CloseRead(context.WithoutCancel(r.Context())); ctx.Err() == nil; {
		s.mu.Lock()
		i := slices.IndexFunc(s.events, func(e sent) bool { return e.seq >= next })
		changed := s.changed
		var e sent
		if i >= 0 {
			e = s.events[i]
		}
		s.mu.Unlock()
		if i < 0 {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		next = e.seq + 1
		if len(dids) > 0 && !slices.Contains(dids, e.did) {
			continue
		}
		if c.Write(ctx, websocket.MessageText, s.frame(e)) != nil {
			return
		}
	}
}

func (s *stream) frame(e sent) []byte {
	tid := string(link.AppendTID(nil, uint64(time.Now().UnixMicro())<<10|e.seq&1023))
	commit := map[string]any{"rev": tid, "operation": "create", "collection": "app.bsky.feed.like",
		"rkey":   fmt.Sprint("r", e.seq),
		"record": map[string]any{"subject": "https://example.com/"}}
	f := map[string]any{"did": e.did, "time_us": e.us, "kind": "commit", "commit": commit}
	if s.v2 {
		commit["$type"], commit["seq"], commit["did"] = "network.bsky.jetstream.subscribeEvents#commit", e.seq, e.did
		commit["time"] = time.UnixMicro(e.us).UTC().Format("2006-01-02T15:04:05.000000Z")
		f = map[string]any{"$type": "message", "payload": commit}
	}
	text, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return text
}
