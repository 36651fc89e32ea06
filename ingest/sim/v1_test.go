package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jcalabro/atmos/cbor"
	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/ingest/upstream/dictionary"
)

// frame1 is a frame of the v1 wire.
type frame1 struct {
	DID    string `json:"did"`
	TimeUS int64  `json:"time_us"`
	Cursor uint64 `json:"cursor"`
	Kind   Kind   `json:"kind"`
	Commit struct {
		Rev        string          `json:"rev"`
		Operation  string          `json:"operation"`
		Collection string          `json:"collection"`
		Rkey       string          `json:"rkey"`
		Record     json.RawMessage `json:"record"`
		CID        string          `json:"cid"`
	} `json:"commit"`
	Account struct {
		DID    string `json:"did"`
		Active bool   `json:"active"`
		Status string `json:"status"`
		Seq    int64  `json:"seq"`
		Time   string `json:"time"`
	} `json:"account"`
	Identity struct {
		DID    string `json:"did"`
		Handle string `json:"handle"`
	} `json:"identity"`
}

// conn is a plain subscription, of either wire.
type conn struct {
	*websocket.Conn
	dec *zstd.Decoder
}

// dial subscribes; path is the route with its query.
func dial(t testing.TB, s *Server, path string) *conn {
	t.Helper()
	ws, _, err := dialRaw(s, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	dec, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionary.V1, v2Dictionary), zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dec.Close)
	return &conn{ws, dec}
}

func dialRaw(s *Server, path string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, strings.Replace(s.URL(), "http", "ws", 1)+path, nil)
	if ws != nil {
		ws.SetReadLimit(1 << 20)
	}
	return ws, resp, err
}

// next reads one frame's text.
func (c *conn) next() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	typ, data, err := c.Read(ctx)
	if err == nil && typ == websocket.MessageBinary {
		return c.dec.DecodeAll(data, nil)
	}
	return data, err
}

// event1 reads one frame of the v1 wire as an Event. Seq is the frame's cursor.
func (c *conn) event1() (Event, error) {
	data, err := c.next()
	if err != nil {
		return Event{}, err
	}
	var f frame1
	if err := json.Unmarshal(data, &f); err != nil {
		return Event{}, fmt.Errorf("%w in %q", err, data)
	}
	e := Event{Seq: f.Cursor, TimeUS: f.TimeUS, Kind: f.Kind, DID: f.DID}
	switch f.Kind {
	case KindCommit:
		e.Rev, e.Collection, e.Rkey = f.Commit.Rev, f.Commit.Collection, f.Commit.Rkey
		e.Operation, e.CID = f.Commit.Operation, f.Commit.CID
		if f.Commit.Record != nil {
			v, err := cbor.FromJSON(f.Commit.Record)
			if err != nil {
				return e, err
			}
			if e.CBOR, err = cbor.Marshal(v); err != nil {
				return e, err
			}
		}
	case KindAccount:
		e.Active, e.Status = f.Account.Active, f.Account.Status
		if f.Account.DID != f.DID || f.Account.Seq == 0 || f.Account.Time == "" {
			return e, fmt.Errorf("account without its inner event: %s", data)
		}
	case KindIdentity:
		e.Handle = f.Identity.Handle
		if f.Identity.DID != f.DID {
			return e, fmt.Errorf("identity without its inner event: %s", data)
		}
	default:
		return e, fmt.Errorf("unknown kind in %s", data)
	}
	return e, nil
}

// onV1 returns the events that the v1 wire has.
func onV1(events []Event, noCursor bool, keep func(Event) bool) []Event {
	var out []Event
	for _, e := range events {
		if e.Kind == KindSync || e.Resync || keep != nil && !keep(e) {
			continue
		}
		if noCursor {
			e.Seq = 0
		}
		out = append(out, e)
	}
	return out
}

func TestV1(t *testing.T) {
	t.Parallel()
	nc := NetworkConfig{Seed: 21, Accounts: 300, Churn: 10}
	const total = 3000
	events := NewNetwork(nc).Events(total)
	someDID := events[10].DID
	tests := map[string]struct {
		noV2  bool
		query string
		from  int // start index in events
		keep  func(Event) bool
	}{
		"plain from the start, by seq": {query: "cursor=1"},
		"compressed":                   {query: "cursor=1&compress=true"},
		"by seq":                       {query: "cursor=1001", from: 1000},
		"by time":                      {query: fmt.Sprintf("cursor=%d", events[1500].TimeUS), from: 1500},
		"by time between two events":   {query: fmt.Sprintf("cursor=%d", events[2100].TimeUS-1), from: 2100},
		"by a time long ago":           {query: "cursor=1000000000000000"},
		"pure v1":                      {noV2: true, query: fmt.Sprintf("cursor=%d", events[2000].TimeUS), from: 2000},
		"pure v1 clamps any number":    {noV2: true, query: "cursor=2500"},
		"pure v1 compressed":           {noV2: true, query: "cursor=0&compress=true"},
		"collections": {
			query: "cursor=1&wantedCollections=app.bsky.graph.*&wantedCollections=app.bsky.feed.post",
			keep: func(e Event) bool {
				return e.Kind != KindCommit || strings.HasPrefix(e.Collection, "app.bsky.graph.") ||
					e.Collection == "app.bsky.feed.post"
			},
		},
		"dids": {
			query: "cursor=1&wantedDids=" + url.QueryEscape(someDID),
			keep:  func(e Event) bool { return e.DID == someDID },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testServer(t, ServerConfig{NetworkConfig: nc, Backlog: 1200, EventsPerSegment: 700, NoV2: tt.noV2})
			s.Emit(1000)
			c := dial(t, s, "/subscribe?"+tt.query)
			s.Emit(total - 1200 - 1000)
			want := onV1(events[tt.from:], tt.noV2, tt.keep)
			for i := range want {
				got, err := c.event1()
				if err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				if !same(got, want[i]) {
					t.Fatalf("frame %d:\n got %+v\nwant %+v", i, got, want[i])
				}
			}
		})
	}
}

func TestPureV1HasNoV2(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{NoV2: true})
	for _, route := range []string{"getZstdDictionary", "listSegments", "subscribeEvents"} {
		resp, err := http.Get(s.URL() + xrpc + route)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", route, resp.Status)
		}
	}
}

func TestLiveFromTip(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{Backlog: 500})
	for name, query := range map[string]string{"no cursor": "", "future seq": "?cursor=100000",
		"future time": "?cursor=9000000000000000"} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s, "/subscribe"+query)
			tip := s.Tip()
			s.Emit(50)
			if e, err := c.event1(); err != nil || e.Seq <= tip || e.Seq > tip+3 {
				t.Fatalf("first event %d at tip %d, %v", e.Seq, tip, err)
			}
		})
	}
}
