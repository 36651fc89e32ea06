package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/humanize"
)

// log is a store whose log grows on request of a test.
type log struct {
	mu      sync.Mutex
	seq     uint64
	failing bool
}

func (l *log) grow(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq += n
}

func (l *log) Seq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq
}

func (l *log) Stats(context.Context) (db.Stats, error) {
	return db.Stats{Links: int64(l.Seq()) * 1000, Actors: 7}, nil
}

func (l *log) Log(_ context.Context, after uint64, limit int) ([]db.LogEntry, uint64, error) {
	if l.failing {
		return nil, after, errors.New("broken")
	}
	var entries []db.LogEntry
	for seq := after + 1; seq <= l.Seq() && len(entries) < limit; seq++ {
		e := db.LogEntry{Seq: seq, TimeUS: int64(seq) * 1_000_000, Op: db.OpCreate, DID: "did:plc:x",
			Collection: "app.bsky.feed.like", Rkey: "a"}
		switch link := (db.Link{Path: "subject.uri", Target: fmt.Sprintf("https://example.com/%d", seq)}); seq % 4 {
		case 0:
			e.Op, e.Removed = db.OpDelete, []db.Link{link}
		case 1: // a change of an account has no links
			e = db.LogEntry{Seq: seq, Op: db.OpAccount, DID: "did:plc:x"}
		default:
			e.Added = []db.Link{link, link}
		}
		entries = append(entries, e)
	}
	return entries, l.Seq(), nil
}

func newTestPulse(l *log) *liveFeed {
	return newLiveFeed(l, func() time.Duration { return 1500 * time.Millisecond }, time.Now, nil)
}

// TestPulse: rates are those of a tick, and of many rows the newest few are shown.
func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		p := newTestPulse(l)
		ctx, cancel := context.WithCancel(t.Context())
		go p.run(ctx)
		synctest.Wait() // it has read the end of the log
		for range 3 {
			l.grow(100)
			time.Sleep(feedInterval)
			synctest.Wait()
		}
		time.Sleep(feedInterval)
		synctest.Wait()
		rates, links := p.latest()
		if fmt.Sprint(rates) != "[100 100 100 0]" {
			t.Errorf("rates %v", rates)
		}
		if len(links) != recent || links[0].subject != "https://example.com/300" || !links[0].Removed ||
			links[0].Verb != "no longer likes" || links[0].Time != "1970-01-01 00:05:00 UTC" {
			t.Errorf("links %+v", links)
		}
		l.failing = true
		l.grow(1)
		time.Sleep(2 * rateBars * feedInterval)
		synctest.Wait()
		if rates, links = p.latest(); len(rates) != rateBars || len(links) != recent {
			t.Errorf("%d rates, %d links", len(rates), len(links))
		}
		cancel()
		synctest.Wait()
	})
}

// TestPulseWatched: an open page gets each tick, until the end.
func TestPulseWatched(t *testing.T) {
	t.Parallel()
	l := &log{}
	p := newTestPulse(l)
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	answer, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	go func() {
		defer close(ended)
		p.run(ctx)
	}()
	l.grow(5)
	lines := bufio.NewScanner(answer.Body)
	var e feedEvent
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if e.Links != "5,000" || e.Actors != "7" || e.Lag != "1.5 s" ||
		answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%+v", e)
	}
	cancel()
	<-ended
	for lines.Scan() { // until the end, which must come
	}
	if n := p.watchers.Load(); n > 1 {
		t.Errorf("%d watch after the end", n)
	}
}

// asked is a resolver with slow answers.
type asked struct {
	Names
	mu    sync.Mutex
	known map[string]string
}

func (a *asked) Known(did string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known[did]
}

func (a *asked) Handles(_ context.Context, dids []string) map[string]string {
	time.Sleep(feedInterval / 2)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, did := range dids {
		a.known[did] = "x.test"
	}
	return nil
}

// TestPulseNames: while pages are open, links wait for one tick and then have handles.
func TestPulseNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &log{}
		p := newTestPulse(l)
		p.names = &asked{known: map[string]string{}}
		ctx, cancel := context.WithCancel(t.Context())
		go p.run(ctx)
		synctest.Wait()
		p.watchers.Store(1)
		l.grow(3)
		time.Sleep(feedInterval)
		synctest.Wait()
		if _, links := p.latest(); len(links) != 0 {
			t.Errorf("shown without waiting: %+v", links)
		}
		time.Sleep(feedInterval)
		synctest.Wait()
		if _, links := p.latest(); len(links) != 2 || links[0].Who != "x.test" || links[0].Initials != "X" {
			t.Errorf("links %+v", links)
		}
		// After the last page closes, waiting links are shown with the new ones.
		l.grow(3)
		time.Sleep(feedInterval)
		synctest.Wait()
		p.watchers.Store(0)
		l.grow(1)
		time.Sleep(feedInterval)
		synctest.Wait()
		if _, links := p.latest(); len(links) != 5 || links[0].subject != "https://example.com/7" {
			t.Errorf("%d links, %+v", len(links), links[0])
		}
		cancel()
		synctest.Wait()
	})
}

// TestPulseRefuses: concurrent connections are limited.
func TestPulseRefuses(t *testing.T) {
	t.Parallel()
	p := newTestPulse(&log{})
	w := httptest.NewRecorder()
	p.serve(w, httptest.NewRequest("POST", "/pulse", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{humanize.Number(0), "0"}, {humanize.Number(999), "999"}, {humanize.Number(1000), "1,000"},
		{humanize.Number(1234567), "1,234,567"}, {humanize.Number(-1234), "-1,234"},
		{humanize.Short(999), "999"}, {humanize.Short(1000), "1.00k"}, {humanize.Short(12_345), "12.3k"},
		{humanize.Short(999_999), "1.00M"}, {humanize.Short(123_456_789), "123M"},
		{initials("did:plc:abc"), "AB"}, {initials("x"), "X"}, {initials("alice.test"), "AL"}, {initials("x.test"), "X"},
		{shortDID("did:plc:aaaaaaaaaaaaaaaabcdefghi"), "did:plc:aaaaaaaa…efghi"},
		{kindText("did:plc:x"), "account"}, {kindText("at://did:plc:x"), "repository"},
		{kindText("at://alice.test"), "repository"}, {kindText("at://did:plc:x/a.b.c"), "collection"},
		{kindText("at://alice.test/a.b.c/3k"), "record"}, {kindText("at://did:plc:x/app.bsky.feed.post/3k"), "post"},
		{kindText("at://did:plc:x/a.b.c/3k"), "record"}, {kindText("https://x.y"), "web page"},
		{kindText("mailto:x@y.z"), "address"},
		{stepText(1), "a second"}, {stepText(900), "15 minutes"}, {stepText(3600), "an hour"}, {stepText(10800), "3 hours"},
		{stepText(86400), "a day"},
		{stepText(28 * 86400), "4 weeks"}, {stepText(364 * 86400), "a year"}, {stepText(0), "no time"},
		{lagText(0), "unknown"}, {lagText(1234 * time.Millisecond), "1.2 s"}, {lagText(90 * time.Second), "90 s"},
		{lagText(25 * time.Hour), "25 h"},
		{lagText(8022*time.Hour + 16*time.Minute), "334 days"}, {humanize.Plural(1, "link"), "link"},
		{humanize.Plural(0, "link"), "links"},
	} {
		if c.got != c.want {
			t.Errorf("%q, not %q", c.got, c.want)
		}
	}
}

// TestWhat: the live list describes targets in words.
func TestWhat(t *testing.T) {
	t.Parallel()
	p := &liveFeed{names: &asked{known: map[string]string{openDID: "alice.test"}}}
	for target, want := range map[string]string{
		"at://" + openDID + "/app.bsky.feed.post/3k":               "a post by alice.test",
		"at://" + openDID + "/community.lexicon.calendar.event/3k": "an event by alice.test",
		"at://" + openDID + "/com.example.thing/3k":                "alice.test/com.example.thing/3k",
		"at://" + openDID + "/app.bsky.feed.post":                  "alice.test/app.bsky.feed.post",
		openDID:                   "alice.test",
		"https://example.com/a?b": "example.com/a?b",
	} {
		l := shownLink{}
		l.Target = target
		if got := p.lineOf(l).What; got != want {
			t.Errorf("%s: %q, not %q", target, got, want)
		}
	}
}

// TestSubjectLink: a row describes the subject in words with its account's name, in a sentence and alone.
func TestSubjectLink(t *testing.T) {
	t.Parallel()
	s := &Server{liveFeed: &liveFeed{names: &asked{known: map[string]string{openDID: `alice"<b>.test`}}}}
	list := loadTemplates(nil)["list"]
	for target, want := range map[string]struct{ sentence, alone, kind string }{
		"at://" + openDID + "/app.bsky.feed.post/3k":               {"a post by alice", "Post by alice", ""},
		"at://" + openDID + "/community.lexicon.calendar.event/3k": {"an event by alice", "Event by alice", ""},
		"at://" + openDID + "/com.example.thing/3k": {"com.example.thing/3k by alice",
			"com.example.thing/3k by alice", "record"},
		"at://" + openDID + "/app.bsky.feed.post": {"app.bsky.feed.post by alice",
			"app.bsky.feed.post by alice", "collection"},
		"at://" + openDID:              {"alice", "alice", "repository"},
		openDID:                        {"alice", "alice", "account"},
		`https://example.com/"><i>?b`:  {"example.com/&#34;&gt;&lt;i&gt;?b", "example.com/&#34;&gt;&lt;i&gt;?b", "web page"},
		"mailto:somebody@example.com?": {"mailto:somebody@example.com?", "mailto:somebody@example.com?", "address"},
	} {
		l := s.subjectLink(target)
		shown := func(l subjectLink) string {
			var b strings.Builder
			if err := list.ExecuteTemplate(&b, "subject", l); err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(b.String(),
				`<span data-did="`+openDID+`" title="`+openDID+`">alice&#34;&lt;b&gt;.test</span>`, "alice", 1)
			return text
		}
		if got := l.Article + shown(l); got != want.sentence || l.Kind != want.kind {
			t.Errorf("%s: %q, of the kind %q", target, got, l.Kind)
		}
		if got := shown(l.alone()); got != want.alone {
			t.Errorf("%s: %q alone", target, got)
		}
	}
}
