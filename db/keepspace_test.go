package db_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/keep"
)

// keeping is a store under rules of retention, with a clock, and a model beside it.
type keeping struct {
	t     *testing.T
	s     *db.Store
	m     dbtest.Model
	cfg   db.Config
	times map[string]time.Duration
	clock atomic.Int64 // seconds since 1970
	seq   uint64
	log   bytes.Buffer
}

func newKeeping(t *testing.T, cfg db.Config, rules string, times map[string]time.Duration) *keeping {
	k := &keeping{t: t, cfg: cfg}
	k.clock.Store(1_770_000_000)
	k.cfg.Dir = t.TempDir()
	k.cfg.Now = func() time.Time { return time.Unix(k.clock.Load(), 0) }
	t.Cleanup(func() { _ = k.s.Close() })
	k.open(rules, times)
	return k
}

// open opens the store, again where it is open, under other rules.
func (k *keeping) open(rules string, times map[string]time.Duration) {
	k.t.Helper()
	if k.s != nil {
		if err := k.s.Close(); err != nil {
			k.t.Fatal(err)
		}
	}
	k.cfg.Keep = must(keep.Parse(rules))
	k.times = times
	k.log.Reset()
	k.cfg.Logger = slog.New(slog.NewTextHandler(&k.log, nil))
	k.s = openWith(k.t, k.cfg)
	k.m.FitUS = k.s.FitUS()
	k.m.Keep(k.times, k.s.LogClock())
	k.cfg.Logger = nil
}

// apply applies events to the store and the model.
func (k *keeping) apply(events ...apply.Event) apply.Counts {
	k.t.Helper()
	for i := range events {
		k.seq++
		events[i].Seq = k.seq
		k.m.Apply(events[i])
	}
	n, err := k.s.Apply(db.Batch{Host: "test", Events: events})
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

// after advances the clock and looks whether a step of the horizons is due.
func (k *keeping) after(d time.Duration) {
	k.t.Helper()
	// The log's clock advances by two minutes at most between two looks.
	for ; d > 0; d -= 2 * time.Minute {
		k.clock.Add(int64(min(d, 2*time.Minute).Seconds()))
		if err := k.s.PruneTick(); err != nil {
			k.t.Fatal(err)
		}
	}
	k.m.FitUS = k.s.FitUS()
	k.m.Keep(k.times, k.s.LogClock())
}

// like returns an event of a like, now.
func (k *keeping) like(account int, target string) apply.Event {
	us := k.clock.Load()*1_000_000 + int64(k.seq%1_000_000)
	tid := newHistory(0).tid(us)
	return apply.Event{TimeUS: us, Op: db.OpCreate, DID: fmt.Sprintf("did:plc:%024d", account), Rev: tid,
		Collection: "app.bsky.feed.like", Rkey: tid, Links: []db.Link{{Path: "subject.uri", Target: target}},
		Body: fmt.Appendf(nil, "a like of %s by %d", target, account)}
}

func (k *keeping) compare(page int) {
	k.t.Helper()
	if err := k.m.Compare(k.t.Context(), k.s, sampled(page)); err != nil {
		k.t.Fatal(err)
	}
}

// TestKeepLongList: of a list that has sets and marks, of accounts that link again and again, the counts and the pages
// are those of the model at each step of the horizon, before compactions and after them.
func TestKeepLongList(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, db.Config{SealBytes: 200 << 10}, "*=3h", map[string]time.Duration{"*": 3 * time.Hour})
	const target = "at://did:plc:777777777777777777777777/app.bsky.feed.post/3l"
	n := 0
	for range 4 {
		for range 20 {
			var events []apply.Event
			for range 60 {
				n++
				e := k.like(n*7%2111%(300+n/4), target)
				e.Rkey = newHistory(0).tid(e.TimeUS + int64(n))
				events = append(events, e)
			}
			if n%5 == 0 { // some go again
				e := events[7]
				e.Op, e.Links = db.OpDelete, nil
				e.Rev = newHistory(0).tid(e.TimeUS + int64(n) + 100)
				events = append(events, e)
			}
			k.apply(events...)
			k.after(4 * time.Minute)
		}
		k.compare(100)
	}
	for range 3 {
		k.after(80 * time.Minute)
		k.compare(100)
	}
	if total, err := k.s.CountLinks(t.Context(), target, db.Source{Collection: "app.bsky.feed.like",
		Path: "subject.uri"}); total != 0 || err != nil {
		t.Errorf("%d links at the end, %v", total, err)
	}
}

// TestKeepGivesSpaceBack: compactions give the space of links and bodies back without a log row, and an index of the
// last hour stays as large as an hour.
func TestKeepGivesSpaceBack(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, db.Config{SealBytes: 32 << 10, ReplayWindow: 10 * time.Minute, Bodies: db.BodiesKeep}, "*=1h",
		map[string]time.Duration{"*": time.Hour})
	var last db.Stats
	for range 4 {
		for part := range 15 {
			var events []apply.Event
			for i := range 20 {
				events = append(events, k.like(i+20*(part%7), fmt.Sprintf("https://example.com/%d", part)))
				k.seq += 1
			}
			n := k.apply(events...)
			if n.Changed != len(events) {
				t.Fatalf("%d log rows for %d events", n.Changed, len(events))
			}
			k.after(4 * time.Minute)
		}
		untilCompacted(t, k.s)
		var err error
		last, err = k.s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
	}
	k.compare(50)
	// A segment of a few links takes 36 kB, so that the number of files says more than their bytes.
	if last.Segments > 8 || last.Links > 2*340 || last.Records > 2*340 {
		t.Errorf("%+v after four hours", last)
	}
	sp, err := k.s.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if bodies := k.s.CountBodies(); bodies > 2*340 {
		t.Errorf("%d bodies, %+v", bodies, sp)
	}
}

// untilCompacted waits until no compaction is due or runs.
func untilCompacted(t testing.TB, s *db.Store) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); s.CompactionsDue(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a compaction is still due after a minute")
		}
	}
}

// TestKeepLate: a record that comes late and is out is not indexed, and is counted.
func TestKeepLate(t *testing.T) {
	t.Parallel()
	k := newKeeping(t, db.Config{}, "app.bsky.feed.like=1h", map[string]time.Duration{"app.bsky.feed.like": time.Hour})
	old := k.like(1, "https://example.com/")
	k.apply(k.like(2, "https://example.com/"))
	k.after(2 * time.Hour)
	old.TimeUS = k.clock.Load() * 1_000_000
	post := old
	post.Collection = "app.bsky.feed.post"
	n := k.apply(old, post)
	if n.Out != 1 || n.Added != 1 {
		t.Errorf("%+v, want a link that is out and one that is not", n)
	}
	k.compare(10)
	// An update of a record that has a link which is not out gains one of another source that is.
	k.open("app.bsky.feed.post:via=1h", map[string]time.Duration{"app.bsky.feed.post:via": time.Hour})
	post.TimeUS = k.clock.Load() * 1_000_000
	post.Rev = newHistory(0).tid(post.TimeUS)
	post.Op = db.OpUpdate
	post.Links = append(post.Links, db.Link{Path: "via", Target: "https://example.org/"})
	if n := k.apply(post); n.Out != 1 || n.Added != 0 {
		t.Errorf("%+v, want one link that is out", n)
	}
	k.compare(10)
}

// TestKeepRules: rules take effect at the next start, which says so; a rule that keeps longer again brings nothing
// back.
func TestKeepRules(t *testing.T) {
	t.Parallel()
	first := newKeeping(t, db.Config{}, "*=2h", map[string]time.Duration{"*": 2 * time.Hour})
	if text := first.log.String(); !strings.Contains(text, "msg=retention links_from=* keep=2h") {
		t.Errorf("the log of a new index doesn't have the rule: %s", text)
	}
	k := newKeeping(t, db.Config{}, "", nil)
	k.apply(k.like(1, "https://example.com/"))
	k.after(3 * time.Hour)
	k.apply(k.like(2, "https://example.com/"))
	k.compare(10)
	k.open("*=2h", map[string]time.Duration{"*": 2 * time.Hour})
	k.compare(10)
	if text := k.log.String(); !strings.Contains(text, "msg=retention links_from=* keep=2h since=2026") {
		t.Errorf("the log doesn't have the rule: %s", text)
	}
	k.open("*=30d", map[string]time.Duration{"*": 30 * 24 * time.Hour})
	k.compare(10)
	if text := k.log.String(); !strings.Contains(text, "because=") {
		t.Errorf("the log doesn't say that earlier rules kept less: %s", text)
	}
	st := k.s.Retention()
	if len(st) != 1 || !st[0].Since || st[0].KeepText() != "30d" {
		t.Errorf("%+v", st)
	}
	k.open("", nil)
	k.compare(10)
	if st := k.s.Retention(); len(st) != 1 || !st[0].Since || st[0].Keep != 0 {
		t.Errorf("%+v without rules", st)
	}
}
