package web_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"html"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
	"weft.dev/weft/web"
)

// TestTopPage: the target with the most links is first, with its exact number, and hostile text stays text.
func TestTopPage(t *testing.T) {
	t.Parallel()
	s := index(t, 20) // with old times
	var events []apply.Event
	now := time.Now()
	add := func(source db.Source, n int, target string) {
		for range n {
			i := len(events)
			tid := string(link.AppendTID(nil, uint64(now.UnixMicro()-int64(i))<<10))
			events = append(events, apply.Event{Seq: uint64(1000 + i), TimeUS: now.UnixMicro(), Op: db.OpCreate,
				DID:        fmt.Sprintf("did:plc:%024d", i),
				Collection: source.Collection, Rkey: tid, Rev: tid, Links: []db.Link{{Path: source.Path, Target: target}}})
		}
	}
	likes := db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}
	add(likes, 7, post+"x")
	add(likes, 3, post)
	follows := db.Source{Collection: "app.bsky.graph.follow", Path: "subject"}
	add(follows, 2, alice)
	odd := db.Source{Collection: "com.example.evil", Path: evil[1]}
	target, _ := link.Parse("https://evil.example/" + "?'\"=%3Cscript%3E")
	add(odd, 1, target)
	// The post has text and a link, so that its content is stored.
	did, collection, rkey, _ := link.SplitRecord(post)
	text := evil[0] + strings.Repeat("x", 300) // so that CBOR has a length of two bytes
	body := append(binary.BigEndian.AppendUint16([]byte("\xa1\x64text\x79"), uint16(len(text))), text...)
	events = append(events, apply.Event{Seq: 5000, TimeUS: now.UnixMicro(), Op: db.OpCreate, DID: did,
		Collection: collection, Rkey: rkey, Rev: "3l6oveex3ii2l",
		Body: body, Links: []db.Link{{Path: "embed.external.uri", Target: target}}})
	if _, err := s.Apply(db.Batch{Host: "upstream.example", Events: events}); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	answers := api.New(api.Config{Store: s, InstanceID: s.Instance(), Logger: logger})
	h := web.New(web.Config{API: answers, Store: s, Logger: logger, Names: names{`alice"<b>.example`: alice}})
	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = answers.CountTop(ctx) })
	defer ended.Wait()
	defer stop()

	const path = "/xrpc/dev.weft.links.getTop"
	page := ""
	for deadline := now.Add(time.Minute); !strings.Contains(page, "<tbody>") && time.Now().Before(deadline); {
		page = browse(h, path).Body.String()
	}
	for source, want := range map[string][]string{
		"": {`3l6oveex3ii2lx">`, "Post by <span", "alice&#34;&lt;b&gt;.example</span></a>", ">7</a>",
			`3l6oveex3ii2l">`, "Post by <span", `<q class="says" dir="auto">` + html.EscapeString(evil[0]) + "xxx", ">3</a>"},
		"app.bsky.graph.follow:subject": {alice, "alice&#34;&lt;b&gt;.example</span></a>", ">2</a>"},
		odd.Collection + ":" + odd.Path: {"evil.example", ">1</a>"},
		"com.example.nothing:x":         {"The index has no links"},
	} {
		w := browse(h, path+"?"+form("source", source, "hours", "6"))
		page := w.Body.String()
		if err := safe(page); err != nil || w.Code != http.StatusOK {
			t.Errorf("%s: %d %v", source, w.Code, err)
		}
		_, rest, _ := strings.Cut(page, "<main")
		for _, text := range want {
			_, after, ok := strings.Cut(rest, text)
			if !ok {
				t.Errorf("%s: %q is missing, or in another place, in %s", source, text, page)
			}
			rest = after
		}
		if source != "com.example.nothing:x" && !strings.Contains(page, "order are exact") {
			t.Errorf("%s: the page doesn't say that it is exact", source)
		}
	}
	home := browse(h, "/").Body.String()
	if !strings.Contains(html.UnescapeString(home), `href="`+path+"?hours=24") {
		t.Error("the first page doesn't lead here")
	}
}

// BenchmarkTop queries the 20 posts with the most likes of a day, from 200,000 likes in 24 hours.
func BenchmarkTop(b *testing.B) {
	s, err := db.Open(db.Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	r := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(r, 1.2, 10, 100_000)
	now := time.Now()
	const likes = 200_000
	const each = 5000
	for seq := uint64(0); seq < likes; {
		var events []apply.Event
		for range each {
			seq++
			us := now.Add(-time.Duration(likes-seq) * 24 * time.Hour / likes).UnixMicro()
			tid := string(link.AppendTID(nil, uint64(us)<<10))
			events = append(events, apply.Event{Seq: seq, TimeUS: us, Op: db.OpCreate,
				DID:        fmt.Sprintf("did:plc:%024d", seq%20_000),
				Collection: "app.bsky.feed.like", Rkey: tid, Rev: tid, Links: []db.Link{{Path: "subject.uri",
					Target: fmt.Sprintf("at://did:plc:%024d/app.bsky.feed.post/3l%d", zipf.Uint64(), 1)}}})
		}
		if _, err := s.Apply(db.Batch{Host: "upstream.example", Events: events}); err != nil {
			b.Fatal(err)
		}
	}
	answers := api.New(api.Config{Store: s, Logger: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(b.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = answers.CountTop(ctx) })
	defer ended.Wait()
	defer stop()
	began := time.Now()
	ask := func(limit string) string {
		r := httptest.NewRequest("GET", "http://weft.test/xrpc/dev.weft.links.getTop?limit="+limit, nil)
		w := httptest.NewRecorder()
		answers.ServeHTTP(w, r)
		return w.Body.String()
	}
	for since := ""; since == "" || since > now.Add(-23*time.Hour).UTC().Format(time.RFC3339); {
		_, since, _ = strings.Cut(ask("1"), `"since":"`)
	}
	b.Logf("the past of %d rows was read in %s", likes, time.Since(began))
	for _, limit := range []string{"20", "50"} {
		b.Run(limit, func(b *testing.B) {
			for b.Loop() {
				if a := ask(limit); !strings.Contains(a, `"subjects":[{"subject"`) {
					b.Fatal(a)
				}
			}
		})
	}
}
