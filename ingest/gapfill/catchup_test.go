package gapfill

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// at is a pipeline that follows an upstream, and a store whose position there is event 100.
type at struct {
	noPipeline
	Store
	host string
}

func (a at) Host() string                  { return a.host }
func (a at) Cursor(string) uint64          { return 100 }
func (at) NewBatch() Batch                 { return &fakeBatch{} }
func (at) ReachedTime() int64              { return 100 }
func (at) HasAccount(string) (bool, error) { return true, nil }

// TestPauseBeforePosition: a stream sends nothing for liveQuiet before the position of the index. What the events up to
// there supersede is not known, unless the stream is filtered, or another upstream's.
func TestPauseBeforePosition(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"xrpc.v1.json"}})
		if err != nil {
			t.Error(err)
			return
		}
		_, _, _ = c.Reader(r.Context()) // until the client goes
	}))
	t.Cleanup(srv.Close)
	source := upstream.Endpoint{URL: srv.URL}
	for _, tc := range []struct {
		name   string
		host   string // that is followed
		filter upstream.Filter
		want   error
	}{
		{"the whole stream", srv.URL, upstream.Filter{}, errPause},
		{"a slice", srv.URL, upstream.Filter{Collections: []string{"app.bsky.feed.like"}}, nil},
		{"another upstream's", "http://other.example", upstream.Filter{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fake := at{host: tc.host}
			cfg := New(Config{Store: fake, Pipeline: fake, Filter: tc.filter}).cfg
			f := newFilling(cfg, &db.Gap{From: 1, To: 10}, source, true)
			f.at = 50
			l, err := upstream.Dial(t.Context(), source, upstream.KindV2, nil, f.at, tc.filter)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := f.readToIndex(t.Context(), l); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}
