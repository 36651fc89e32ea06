package web_test

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/web"
)

// maxFirstView is the limit in bytes, compressed, of a page and its files without a cache: a second on a slow phone
// line.
const maxFirstView = 60_000

// loaded matches the addresses that a page loads by itself.
var loaded = regexp.MustCompile(`(?:src|<link rel="(?:icon|stylesheet)"[^>]*href)="(/assets/[^"]*)"`)

// TestFirstView: no page loads more than maxFirstView, with its longest list and with the text of records.
func TestFirstView(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 300), web.Config{Names: names{}, Lag: func() time.Duration { return time.Second }})
	get := func(target string) (body string, size int) {
		r := httptest.NewRequest("GET", "http://weft.test/", nil)
		path, query, _ := strings.Cut(target, "?")
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return browse(h, target).Body.String(), w.Body.Len()
	}
	both := form("subject", post, "source", like)
	most := 0
	for _, target := range append(pages(), "/xrpc/dev.weft.links.getBacklinks?"+both,
		"/xrpc/dev.weft.links.getBacklinks?"+both+"&hydrate=true&limit=100",
		"/links/all?"+form("target", "https://example.com/a?b=c#d"), "/nothing", "/search?q=hello") {
		page, size := get(target)
		files := loaded.FindAllStringSubmatch(page, -1)
		if len(files) < 4 {
			t.Errorf("%s loads only %v", target, files)
		}
		seen := map[string]bool{}
		for _, file := range files {
			if !seen[file[1]] {
				seen[file[1]] = true
				_, more := get(file[1])
				size += more
			}
		}
		most = max(most, size)
		if size > maxFirstView {
			t.Errorf("%s loads %d bytes, more than %d", target, size, maxFirstView)
		}
	}
	t.Logf("at most %d bytes", most)
}
