package api

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
)

// lengthy is a store with long lists and slow walks.
type lengthy struct{ fake }

func (lengthy) walk(q db.ListQuery) error {
	if q.Walk > 0 {
		return &db.WalkError{Links: 1_000_000}
	}
	return nil
}

func (s lengthy) Links(ctx context.Context, q db.ListQuery) (db.Page[db.Record], error) {
	if err := s.walk(q); err != nil && q.DIDs != nil {
		return db.Page[db.Record]{}, err
	}
	return s.fake.Links(ctx, q)
}

func (s lengthy) ManyToMany(ctx context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error) {
	if err := s.walk(q.ListQuery); err != nil {
		return db.Page[db.ManyItem]{}, err
	}
	return s.fake.ManyToMany(ctx, q)
}

func (s lengthy) ManyToManyCounts(ctx context.Context, q db.ManyQuery) (db.Page[db.OtherCount], error) {
	if err := s.walk(q.ListQuery); err != nil {
		return db.Page[db.OtherCount]{}, err
	}
	return s.fake.ManyToManyCounts(ctx, q)
}

func (lengthy) AccountTotal(context.Context, string) (int64, error) { return 1_000_000, nil }

func (s lengthy) DIDs(ctx context.Context, q db.ListQuery) (db.Page[string], error) {
	if err := s.walk(q); err != nil {
		return db.Page[string]{}, err
	}
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return db.Page[string]{}, ctx.Err()
	}
	return s.fake.DIDs(ctx, q)
}

// TestHeavyLine: walks by 200 hosts don't delay cheaper queries, and the line of walks is bounded.
func TestHeavyLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Store: lengthy{indexed}, Logger: slog.New(slog.DiscardHandler), AddressHeader: "X-From"})
		var asked sync.WaitGroup
		codes := map[string]int{}
		var mu sync.Mutex
		for i := range 1000 {
			asked.Go(func() {
				w := do(h, "GET", xrpc("getBacklinkDids", "subject", post, "source", like), "X-From",
					fmt.Sprintf("10.0.%d.1", i%200))
				mu.Lock()
				defer mu.Unlock()
				name := "200"
				if w.Code != 200 {
					name = dig(t, w.Body.String(), "error")
				}
				codes[name]++
			})
		}
		synctest.Wait()
		begin := time.Now()
		for _, path := range []string{"/links/all?" + form("target", post), "/status", "/",
			own("getTimeline", "subject", post, "source", like),
			xrpc("getBacklinksCount", "subject", post, "source", like),
			xrpc("getBacklinks", "subject", post, "source", like, "limit", "1000")} {
			if w := do(h, "GET", path, "X-From", "9.9.9.9"); w.Code != 200 || time.Since(begin) > 0 {
				t.Errorf("%s: %d after %s", path, w.Code, time.Since(begin))
			}
		}
		asked.Wait()
		if codes[`"Busy"`] == 0 || codes["200"] == 0 || codes["200"]+codes[`"Busy"`]+codes[`"Timeout"`] != 1000 {
			t.Errorf("%v", codes)
		}
	})
}

// TestCosts: each query ends in the semaphore of the expected cost.
func TestCosts(t *testing.T) {
	t.Parallel()
	short, long := newServer(Config{Store: indexed}), newServer(Config{Store: lengthy{indexed}})
	dids := "&did=" + bob
	listed := form("subject", post, "source", like)
	for _, c := range []struct {
		target      string
		short, long cost
	}{
		{xrpc("getBacklinksCount") + listed, light, light},
		{xrpc("getBacklinks") + listed, light, light},
		{xrpc("getBacklinks") + listed + "&limit=1000", medium, medium},
		{xrpc("getBacklinks") + listed + dids, light, heavy},
		{xrpc("getBacklinkDids") + listed, light, heavy},
		{xrpc("getBacklinkDids") + listed + "&limit=1000", medium, heavy},
		{xrpc("getManyToMany") + listed + "&pathToOther=x", light, heavy},
		{xrpc("getManyToManyCounts") + listed + "&pathToOther=x", light, heavy},
		{own("getBacklinks") + listed + "&hydrate=true&limit=6", medium, medium},
		{own("getBacklinks") + listed + "&hydrate=true", heavy, heavy},
		{own("getAccountBacklinks") + "did=" + alice, medium, heavy},
		{own("getAccountCounts") + "did=" + alice, medium, heavy},
		{own("getCounts") + listed, light, light},
		{own("getCounts") + listed + strings.Repeat("&"+form("subject", post), 10), medium, medium},
		{own("getTimeline") + listed, medium, medium},
		{own("getRecordLinks") + "did=" + alice, light, light},
		{own("getRecordLinks") + "did=" + alice + "&hydrate=true", medium, medium},
		{"/links?" + form("target", post, "collection", "app.bsky.feed.like", "path", ".subject.uri"), light, light},
		{"/links/distinct-dids?" + form("target", post, "collection", "app.bsky.feed.like", "path", ".subject.uri"), light,
			heavy},
		{"/links/all?" + form("target", post), medium, medium},
	} {
		path, query, _ := strings.Cut(c.target, "?")
		for s, want := range map[*server]cost{short: c.short, long: c.long} {
			synctest.Test(t, func(t *testing.T) {
				route := routes.At(path)
				p := parseQuery(route, query)
				got, err := s.costOf(t.Context(), p)
				run := s.queries()[route]
				for err == nil && (route.Cost == routes.ByList || route.Cost == routes.ByPage) {
					p.walk = walks[got]
					_, err = run(t.Context(), p)
					next := longer(got, err)
					if next == got {
						break
					}
					got, err = next, nil
				}
				if got != want || err != nil || p.err != nil {
					t.Errorf("%s: %d, not %d; %v %v", c.target, got, want, err, p.err)
				}
			})
		}
	}
}

// TestLonger: a query that would have read more runs with what its list costs.
func TestLonger(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		was   cost
		links int64
		want  cost
	}{
		{"a log that is long", light, 0, medium},
		{"a short list", light, mediumWalk, medium},
		{"a long list", light, mediumWalk + 1, heavy},
		{"a short list that is much read", medium, 10, heavy},
		{"without a bound", heavy, 1_000_000, heavy},
	} {
		if got := longer(c.was, fmt.Errorf("links: %w", &db.WalkError{Links: c.links})); got != c.want {
			t.Errorf("%s: %d, not %d", c.name, got, c.want)
		}
		if got := longer(c.was, context.Canceled); got != c.was {
			t.Errorf("%s: another error gives %d", c.name, got)
		}
	}
}

// partly is a store that counts in three parts of a second each.
type partly struct{ fake }

func (s partly) Counts(ctx context.Context, pairs []db.Pair, pause func() error) ([]db.PairCount, error) {
	for part := range 3 {
		if part > 0 {
			if err := pause(); err != nil {
				return nil, err
			}
		}
		time.Sleep(time.Second)
	}
	return s.fake.Counts(ctx, pairs, nil)
}

// TestLongCountsTakeTurns: a query of many counts waits in line again for each part, and other queries run between.
func TestLongCountsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Store: partly{indexed}, Concurrency: 1, Logger: slog.New(slog.DiscardHandler),
			AddressHeader: "X-From"})
		begin := time.Now()
		var asked sync.WaitGroup
		asked.Go(func() {
			query := own("getCounts", "subject", post) + strings.Repeat("&"+form("source", like), 11)
			if w := do(h, "GET", query, "X-From", "1.1.1.1"); w.Code != 200 || time.Since(begin) != 3*time.Second {
				t.Errorf("counts: %d after %s", w.Code, time.Since(begin))
			}
		})
		time.Sleep(time.Second / 2)
		w := do(h, "GET", own("getTimeline", "subject", post, "source", like), "X-From", "2.2.2.2")
		if w.Code != 200 || time.Since(begin) != time.Second {
			t.Errorf("another host: %d after %s", w.Code, time.Since(begin))
		}
		asked.Wait()
	})
}

// TestNetworksShare: the hosts of a /48 together have budget.Wide times the rate of one host.
func TestNetworksShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Store: indexed, RatePerMinute: 3, AddressHeader: "X-From", Logger: slog.New(slog.DiscardHandler)})
		allowed := 0
		for i := range 40 {
			if do(h, "GET", "/robots.txt", "X-From", fmt.Sprintf("2001:db8:1:%x::1", i)).Code == 200 {
				allowed++
			}
		}
		if allowed != 3*budget.Wide {
			t.Errorf("%d of 40 hosts of a network", allowed)
		}
	})
}
