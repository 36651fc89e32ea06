package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/db"
)

// many returns an index of n likes of one post by n/2 accounts. Each account also links to two of five topics.
func many(n int) fake {
	var f fake
	for i := range n {
		r := db.Record{DID: fmt.Sprintf("did:plc:n%d", i/2), Collection: "app.bsky.feed.like", Rkey: fmt.Sprintf("3k%d", i)}
		f = append(f, fakeLink{r, "subject.uri", post},
			fakeLink{r, "topic", fmt.Sprintf("https://example.com/%d", i%5)},
			fakeLink{r, "topic", fmt.Sprintf("https://example.com/%d", (i+1)%5)})
	}
	return f
}

// TestPaging reads every list to its end with pages of several sizes, and finds every item once and in order.
func TestPaging(t *testing.T) {
	t.Parallel()
	const n = 24
	h := serve(Config{Store: many(n)})
	for _, c := range []struct {
		name   string
		target string
		items  string
		total  int
	}{
		{"getBacklinks", xrpc("getBacklinks", "subject", post, "source", like), "records", n},
		{"getBacklinks, oldest first", xrpc("getBacklinks", "subject", post, "source", like, "reverse", "true"), "records",
			n},
		{"getBacklinkDids", xrpc("getBacklinkDids", "subject", post, "source", like), "linking_dids", n / 2},
		{"getManyToMany", xrpc("getManyToMany", "subject", post, "source", like, "pathToOther", "topic"), "items", 2 * n},
		{"getManyToManyCounts", xrpc("getManyToManyCounts", "subject", post, "source", like, "pathToOther", "topic"),
			"counts_by_other_subject", 5},
		{"links", "/links?collection=app.bsky.feed.like&path=.subject.uri&target=" + post, "linking_records", n},
		{"links/distinct-dids", "/links/distinct-dids?collection=app.bsky.feed.like&path=.subject.uri&target=" + post,
			"linking_dids", n / 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			whole := walk(t, func(target string) string { return get(t, h, target) }, c.target, c.items, 1000)
			if distinct := slices.Compact(slices.Sorted(slices.Values(whole))); len(whole) != c.total ||
				len(distinct) != c.total {
				t.Fatalf("%d items, %d distinct, want %d", len(whole), len(distinct), c.total)
			}
			for size := 1; size <= c.total; size++ {
				if got := walk(t, func(target string) string { return get(t, h, target) }, c.target, c.items,
					size); !slices.Equal(got, whole) {
					t.Errorf("pages of %d: got %s, want %s", size, got, whole)
				}
			}
		})
	}

	newest := walk(t, func(target string) string { return get(t, h, target) },
		xrpc("getBacklinks", "subject", post, "source", like), "records", 5)
	oldest := walk(t, func(target string) string { return get(t, h, target) },
		xrpc("getBacklinks", "subject", post, "source", like, "reverse", "true"), "records", 7)
	slices.Reverse(oldest)
	if !slices.Equal(newest, oldest) {
		t.Errorf("newest first %s, oldest first %s", newest, oldest)
	}
}

// walk returns the JSON of all items of a list, following its cursors until one is null.
func walk(t *testing.T, fetch func(string) string, target, items string, size int) []string {
	t.Helper()
	var all []string
	target += fmt.Sprintf("&limit=%d", size)
	for next := target; ; {
		var page map[string]json.RawMessage
		if err := json.Unmarshal([]byte(fetch(next)), &page); err != nil {
			t.Fatal(err)
		}
		var list []json.RawMessage
		if err := json.Unmarshal(page[items], &list); err != nil {
			t.Fatal(err)
		}
		for _, item := range list {
			all = append(all, string(item))
		}
		cursor := string(page["cursor"])
		if cursor == "null" {
			return all
		}
		if len(list) != size {
			t.Fatalf("%d of %d items on a page that isn't the last", len(list), size)
		}
		next = target + "&cursor=" + strings.Trim(cursor, `"`)
	}
}
