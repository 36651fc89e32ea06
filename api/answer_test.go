package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
)

// TestHead uses a real connection, on which a HEAD answer with a body would break the next request.
func TestHead(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(serve(Config{DIDWeb: "weft.example"}))
	defer srv.Close()
	// The client adds gzip by itself, and only to GET.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	for _, path := range tableOfRoutes() {
		if def := definitions.At(path); isStream(path) || def != nil && def.Method() != http.MethodGet {
			continue
		}
		target := srv.URL + path
		if def := definitions.At(path); def != nil {
			target += "?" + right(def).Encode()
		}
		got, err := client.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(got.Body)
		got.Body.Close()
		head, err := client.Head(target)
		if err != nil {
			t.Fatal(err)
		}
		head.Body.Close()
		if got.StatusCode != 200 || head.StatusCode != 200 || head.ContentLength != int64(len(body)) || len(body) == 0 {
			t.Errorf("%s: GET %d with %d bytes, HEAD %d with %d", path, got.StatusCode, len(body), head.StatusCode,
				head.ContentLength)
		}
		for _, name := range []string{"Content-Type", "ETag", "Cache-Control", "Vary"} {
			if g, h := got.Header.Get(name), head.Header.Get(name); g != h {
				t.Errorf("%s: %s is %q for GET and %q for HEAD", path, name, g, h)
			}
		}
	}
	if w := do(serve(Config{}), "HEAD", "/links/all"); w.Code != 400 || w.Body.Len() != 0 {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
}

// TestUnencoded sends a target with unencoded slashes over a connection, as some clients do.
func TestUnencoded(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(serve(Config{}))
	defer srv.Close()
	res, err := http.Get(srv.URL + "/links/all/count?target=" + post)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if got := dig(t, string(body), "links app.bsky.feed.like .subject.uri"); got != "3" {
		t.Errorf("%s likes", got)
	}
}

func TestETag(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	const target = "/links/all?target=" + post
	first := do(h, "GET", target)
	tag := first.Header().Get("ETag")
	if tag == "" || first.Header().Get("Cache-Control") != "public, max-age=1" {
		t.Fatalf("ETag %q, Cache-Control %q", tag, first.Header().Get("Cache-Control"))
	}
	for _, c := range []struct {
		name, method, target, header string
		status                       int
	}{
		{"same", "GET", target, tag, 304},
		{"same, HEAD", "HEAD", target, tag, 304},
		{"weak", "GET", target, "W/" + tag, 304},
		{"in a list", "GET", target, `"x", ` + tag + `,"y"`, 304},
		{"any", "GET", target, "*", 304},
		{"another", "GET", target, `"x"`, 200},
		{"of another answer", "GET", "/links/all?target=" + list, tag, 200},
		{"any, of an error", "GET", "/links/all", "*", 400},
		{"any, of health", "GET", "/xrpc/_health", "*", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := do(h, c.method, c.target, "If-None-Match", c.header)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d", w.Code, c.status)
			}
			if c.status == 304 && (w.Body.Len() != 0 || w.Header().Get("ETag") != tag || w.Header().Get("Cache-Control") == "") {
				t.Errorf("304 with %d bytes and headers %v", w.Body.Len(), w.Header())
			}
		})
	}
}

func TestStoreErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		f      func(context.Context) (db.Stats, error)
		status int
		error  string
		logged int
	}{
		{"internal", func(context.Context) (db.Stats, error) { return db.Stats{}, errors.New("disk on fire") }, 500,
			`"InternalServerError"`, 1},
		{"panic", func(context.Context) (db.Stats, error) { panic("disk on fire") }, 500, `"InternalServerError"`, 1},
		{"deadline", func(ctx context.Context) (db.Stats, error) { <-ctx.Done(); return db.Stats{}, ctx.Err() }, 503,
			`"Timeout"`, 0},
		{"deadline by another name", func(ctx context.Context) (db.Stats, error) {
			<-ctx.Done()
			return db.Stats{}, errors.New("interrupted")
		}, 503, `"Timeout"`, 0},
		{"cancelled", func(context.Context) (db.Stats, error) { return db.Stats{}, context.Canceled }, 503, `"Timeout"`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// Time passes only when all goroutines wait, so that a slow machine causes no timeouts.
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				h := serve(Config{Store: stub{f: c.f}, Timeout: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				w := do(h, "GET", "/")
				if got := dig(t, w.Body.String(), "error"); w.Code != c.status || got != c.error {
					t.Errorf("status %d, error %s", w.Code, got)
				}
				if strings.Contains(w.Body.String(), "fire") {
					t.Errorf("the client gets the error: %s", w.Body)
				}
				if n := strings.Count(log.String(), "disk on fire"); n != c.logged {
					t.Errorf("logged %d times: %s", n, &log)
				}
				if got := w.Header().Get("Retry-After"); (got != "") != (c.status == 503) {
					t.Errorf("Retry-After %q", got)
				}
			})
		})
	}
}

// slowCounts is a store that calls before ahead of each count.
type slowCounts struct {
	fake
	before func()
}

func (s slowCounts) CountLinks(ctx context.Context, target string, src db.Source) (int64, error) {
	s.before()
	return s.fake.CountLinks(ctx, target, src)
}

// TestAboutIsShared: concurrent requests of /status share one answer, also when the first client leaves.
func TestAboutIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made := 0
		h := serve(Config{Store: stub{f: func(ctx context.Context) (db.Stats, error) {
			made++
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return db.Stats{}, ctx.Err()
		}}})
		first, leave := context.WithCancel(t.Context())
		var asked sync.WaitGroup
		asked.Go(func() { h.ServeHTTP(httptest.NewRecorder(), newRequest("/status").WithContext(first)) })
		synctest.Wait()
		for range 50 {
			asked.Go(func() { get(t, h, "/status") })
		}
		synctest.Wait()
		leave()
		asked.Wait()
		if made != 1 {
			t.Errorf("made %d times", made)
		}
		if get(t, h, "/status"); made != 2 {
			t.Error("an old answer is given")
		}
	})
}

// TestQueue has one slot and a store that blocks it: a request that waits too long gets a 503, routes without the store
// answer meanwhile, and the slot becomes free again.
func TestQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		h := serve(Config{Concurrency: 1, Timeout: 10 * time.Second, Store: slowCounts{indexed, func() {
			running++
			most = max(most, running)
			time.Sleep(4 * time.Second)
			running--
		}}})
		count := xrpc("getBacklinksCount", "subject", post, "source", like)
		codes := make(chan int)
		for range 5 {
			go func() { codes <- do(h, "GET", count).Code }()
		}
		synctest.Wait()
		for _, target := range []string{"/xrpc/_health", "/readyz", "/status", "/", "/openapi.json"} {
			if w := do(h, "GET", target); w.Code != 200 {
				t.Errorf("%s: status %d while the store is busy", target, w.Code)
			}
		}
		// The first three start after 0, 4 and 8 seconds; the others time out after 10.
		answers := make(map[int]int)
		for range 5 {
			answers[<-codes]++
		}
		if most != 1 || answers[200] != 3 || answers[503] != 2 {
			t.Errorf("%d at once, answers %v", most, answers)
		}
		if w := do(h, "GET", count); w.Code != 200 {
			t.Errorf("status %d afterwards", w.Code)
		}
	})
}
