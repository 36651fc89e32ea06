package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/db"
)

// TestEncoding: large pages are compressed as the client accepts, with the same content.
func TestEncoding(t *testing.T) {
	t.Parallel()
	h := serve(Config{Store: many(500)})
	target := xrpc("getBacklinks", "subject", post, "source", like, "limit", "500")
	plain := do(h, "GET", target)
	for _, c := range []struct{ accept, encoding string }{
		{"", ""}, {"identity", ""}, {"br", ""}, {"gzip", "gzip"}, {"GZIP;q=0.5, br", "gzip"},
		{"gzip, deflate, br, zstd", "zstd"},
		{"zstd;q=0, gzip", "gzip"}, {"gzip;q=x", ""}, {"*", ""},
	} {
		w := do(h, "GET", target, "Accept-Encoding", c.accept)
		if got := w.Header().Get("Content-Encoding"); got != c.encoding {
			t.Errorf("%q: encoded as %q", c.accept, got)
		}
		var r io.Reader = w.Body
		var err error
		switch c.encoding {
		case "gzip":
			r, err = gzip.NewReader(w.Body)
		case "zstd":
			r, err = zstd.NewReader(w.Body)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain.Body.Bytes()) {
			t.Errorf("%q: another page, %v", c.accept, err)
		}
		if tag := w.Header().Get("ETag"); strings.TrimPrefix(tag, "W/") != plain.Header().Get("ETag") ||
			strings.HasPrefix(tag, "W/") != (c.encoding != "") {
			t.Errorf("%q: ETag %s", c.accept, tag)
		}
		if w := do(h, "GET", target, "Accept-Encoding", c.accept, "If-None-Match", w.Header().Get("ETag")); w.Code != 304 {
			t.Errorf("%q: %d", c.accept, w.Code)
		}
	}
	if w := do(h, "GET", "/links/all?target="+post, "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a small answer is compressed")
	}
}

// TestRateLimit: each address has its own limit, which refills with time; health checks have no limit.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := Config{Store: indexed, RatePerMinute: 6, AddressHeader: "X-Real-IP", Logger: slog.New(slog.DiscardHandler)}
		h := New(c)
		ask := func(address, path string, status int, remaining, reset string) {
			t.Helper()
			w := do(h, "GET", path, "X-Real-IP", address)
			if w.Code != status || w.Header().Get("RateLimit-Remaining") != remaining ||
				w.Header().Get("RateLimit-Reset") != reset {
				t.Errorf("%s %s: %d, %v", address, path, w.Code, w.Header())
			}
			if status == 429 && (w.Header().Get("Retry-After") != "10" || w.Header().Get("RateLimit-Policy") != "6;w=60" ||
				dig(t, w.Body.String(), "error") != `"RateLimitExceeded"`) {
				t.Errorf("%s, %v", w.Body, w.Header())
			}
		}
		for i := range 6 {
			ask("1.1.1.1", "/links/all?target="+post, 200, fmt.Sprint(5-i), fmt.Sprint(10*(i+1)))
		}
		ask("1.1.1.1", "/links/all?target="+post, 429, "0", "60")
		ask("1.1.1.1", "/xrpc/_health", 200, "", "")
		ask("1.1.1.2", "/robots.txt", 200, "5", "10")
		time.Sleep(20 * time.Second)
		ask("1.1.1.1", "/nothing", 404, "1", "50")
		ask("1.1.1.1", "/nothing", 404, "0", "60")
		ask("1.1.1.1", "/nothing", 429, "0", "60")
		time.Sleep(time.Hour)
		ask("1.1.1.1", "/nothing", 404, "5", "10")
	})
}

func TestRateLimitMemory(t *testing.T) {
	t.Parallel()
	l := &rateLimit{perMinute: 60, now: time.Now}
	for i := range 3*rateAddresses + 5 {
		l.take(budget.ClientOf(fmt.Sprint(i)))
	}
	if n := len(l.young) + len(l.old); n > 2*rateAddresses {
		t.Errorf("%d addresses are kept", n)
	}
}

// slowWalks is a store with slow walks.
type slowWalks struct{ fake }

func (s slowWalks) DIDs(ctx context.Context, q db.ListQuery) (db.Page[string], error) {
	if q.Walk > 0 {
		return db.Page[string]{}, &db.WalkError{}
	}
	time.Sleep(3 * time.Second)
	return s.fake.DIDs(ctx, q)
}

// TestWalksDoNotDelayCounts: while all slots of walks are taken and a hundred walks wait, a count is answered at once.
func TestWalksDoNotDelayCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := serve(Config{Store: slowWalks{indexed}, Timeout: time.Minute})
		var asked sync.WaitGroup
		for range 100 {
			asked.Go(func() { do(h, "GET", xrpc("getBacklinkDids", "subject", post, "source", like)) })
		}
		synctest.Wait()
		begin := time.Now()
		get(t, h, xrpc("getBacklinksCount", "subject", post, "source", like))
		get(t, h, xrpc("getBacklinks", "subject", post, "source", like))
		if took := time.Since(begin); took > 0 {
			t.Errorf("a count waited %s", took)
		}
		asked.Wait()
	})
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := New(Config{Store: indexed, AccessLog: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	do(h, "GET", "/links/all?target="+strings.Repeat("x", 5000))
	if line := log.String(); !strings.Contains(line, "status=400") || !strings.Contains(line, "path=/links/all") ||
		len(line) > 2000 || strings.Count(line, "\n") != 1 {
		t.Errorf("%s", line)
	}
}

// TestZstdEncoderOutlivesBubble: an encoder that a bubble of synctest used first works outside of it.
func TestZstdEncoderOutlivesBubble(t *testing.T) {
	t.Parallel()
	z := newZstdEncoder()
	synctest.Test(t, func(*testing.T) { z.EncodeAll([]byte("in the bubble"), nil) })
	z.EncodeAll([]byte("outside"), nil)
}
