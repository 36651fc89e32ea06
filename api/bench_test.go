package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

const (
	benchPosts    = 5000
	benchAccounts = 5000
	// benchLikes are 20 of each post on average, as in bench/http.
	benchLikes = 20 * benchPosts
	// benchPopular are the likes of one more post.
	benchPopular = 10_000
)

// BenchmarkRequest answers requests of an index of sealed segments, from the headers to the written answer, without
// net/http and a socket: what remains of a request's cost is theirs.
func BenchmarkRequest(b *testing.B) {
	handler := New(Config{Store: benchStore(b), Logger: slog.New(slog.DiscardHandler)})
	xrpc := func(method string, post int, rest string) string {
		return "/xrpc/" + method + "?source=app.bsky.feed.like:subject.uri&subject=" + url.QueryEscape(benchPost(post)) + rest
	}
	const count, list, dids = "blue.microcosm.links.getBacklinksCount", "blue.microcosm.links.getBacklinks",
		"dev.weft.links.getBacklinkDids"
	for _, bench := range []struct {
		name string
		path func(post int) string
	}{
		{"count", func(n int) string { return xrpc(count, n, "") }},
		{"list", func(n int) string { return xrpc(list, n, "&limit=100") }},
		{"page", func(int) string { return xrpc(list, benchPosts, "&limit=100") }},
		{"dids", func(n int) string { return xrpc(dids, n, "&limit=100") }},
		{"didsPage", func(int) string { return xrpc(dids, benchPosts, "&limit=100") }},
		{"linksAll", func(n int) string { return "/links/all?target=" + url.QueryEscape(benchPost(n)) }},
		{"notFound", func(int) string { return "/nothing" }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			requests := make([]*http.Request, 1000)
			for i := range requests {
				requests[i] = httptest.NewRequest(http.MethodGet, bench.path(i*(benchPosts/1000)), nil)
			}
			w := &discarder{header: http.Header{}}
			b.ReportAllocs()
			before := processorTime()
			for i := 0; b.Loop(); i++ {
				clear(w.header)
				handler.ServeHTTP(w, requests[i%len(requests)])
			}
			b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
			if want := bench.name == "notFound"; (w.status == http.StatusNotFound) != want {
				b.Fatalf("status %d", w.status)
			}
		})
	}
}

// processorTime is the processor time that the process has taken: on a busy machine it says more than the time that has
// passed.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// discarder is a ResponseWriter that drops the answer.
type discarder struct {
	header http.Header
	status int
}

func (d *discarder) Header() http.Header         { return d.header }
func (d *discarder) WriteHeader(status int)      { d.status = status }
func (d *discarder) Write(p []byte) (int, error) { return len(p), nil }

func benchDID(n int) string { return fmt.Sprintf("did:plc:%024d", n) }

func benchPost(n int) string {
	return "at://" + benchDID(n%benchAccounts) + "/app.bsky.feed.post/" +
		string(link.AppendTID(nil, uint64(1_700_000_000_000_000+n*1_000_000)<<10))
}

// benchStore returns an index whose links are in segments.
func benchStore(b *testing.B) *db.Store {
	store, err := db.Open(db.Config{Dir: b.TempDir(), SealBytes: 2 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	seq := uint64(0)
	for seq < benchLikes+benchPopular {
		batch := db.Batch{Host: "bench"}
		for range 1000 {
			us := time.Now().UnixMicro()
			tid := string(link.AppendTID(nil, uint64(us)<<10|seq%1024))
			post := int(seq * 7919 % benchPosts)
			if seq >= benchLikes {
				post = benchPosts
			}
			seq++
			batch.Events = append(batch.Events, apply.Event{Seq: seq, TimeUS: us, Op: db.OpCreate,
				DID: benchDID(int(seq * 6007 % benchAccounts)), Collection: "app.bsky.feed.like", Rkey: tid, Rev: tid,
				Links: []db.Link{{Path: "subject.uri", Target: benchPost(post)}}})
		}
		if _, err := store.Apply(batch); err != nil {
			b.Fatal(err)
		}
	}
	for quiet := 0; quiet < 5; quiet++ {
		st, err := store.Stats(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if st.Sealing || st.Compacting {
			quiet = 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return store
}
