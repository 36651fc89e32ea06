package db_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync/atomic"
	"testing"

	"weft.dev/weft/db"
)

// TestWalkBound: a query that may read only so much of its list gives the answer of one without a bound, or a WalkError
// with the length of the list; never the error for a short list or a bound that is larger than all it could read.
func TestWalkBound(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	l := newLongList(t, 4000/fraction(1), small(t.TempDir(), &clock))
	untilNoJobs(t, l.Store)
	whole := int64(1 << 40)
	links, err := l.CountLinks(t.Context(), l.target, l.source)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	failed, answered := 0, 0
	for _, dids := range [][]string{nil, {l.dids[0], "did:plc:nobody7777777777777777"}, l.dids[5:8]} {
		q := db.ListQuery{Target: l.target, Source: l.source, DIDs: dids, Limit: 10}
		for name, ask := range map[string]func(ctx context.Context, q db.ListQuery) (any, []byte, error){
			"links": func(ctx context.Context, q db.ListQuery) (any, []byte, error) {
				p, err := l.Links(ctx, q)
				return p.Items, p.Next, err
			},
			"accounts": func(ctx context.Context, q db.ListQuery) (any, []byte, error) {
				p, err := l.DIDs(ctx, q)
				return p, p.Next, err
			},
			"others": func(ctx context.Context, q db.ListQuery) (any, []byte, error) {
				p, err := l.ManyToMany(ctx, db.ManyQuery{ListQuery: q, Other: l.other})
				return p.Items, p.Next, err
			},
			"counts of others": func(ctx context.Context, q db.ListQuery) (any, []byte, error) {
				p, err := l.ManyToManyCounts(ctx, db.ManyQuery{ListQuery: q, Other: l.other})
				return p.Items, p.Next, err
			},
		} {
			q.After = nil
			for range 3 {
				for _, walk := range []int64{1, 64, 1 + r.Int64N(20_000), whole} {
					q.Walk = walk
					got, _, err := ask(t.Context(), q)
					var long *db.WalkError
					if errors.As(err, &long) {
						failed++
						if walk == whole || long.Links != links {
							t.Fatalf("%s, %d: %v", name, walk, err)
						}
						continue
					}
					q.Walk = 0
					want, _, wantErr := ask(t.Context(), q)
					if err != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
						t.Fatalf("%s, %d: %v, not %v; %v %v", name, walk, got, want, err, wantErr)
					}
					answered++
				}
				q.Walk = 0
				_, q.After, err = ask(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if q.After == nil {
					break
				}
			}
		}
	}
	if failed == 0 || answered == 0 {
		t.Errorf("%d queries failed, %d were answered", failed, answered)
	}
	// Once the marks are there, a page reads no more than itself.
	q := db.ListQuery{Target: l.target, Source: l.source, Limit: 10}
	for range 1000 { // a compaction may end between two queries
		q.Walk = 0
		_, err = l.DIDs(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		q.Walk = 1
		_, err = l.DIDs(t.Context(), q)
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("a page of a list with marks: %v", err)
	}
}

// TestOneAtATime: concurrent first requests for the accounts of a list give one answer.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	l := newLongList(t, 2000, small(t.TempDir(), &clock))
	untilNoJobs(t, l.Store)
	q := db.ListQuery{Target: l.target, Source: l.source, Limit: 10}
	pages := make(chan db.Page[string], 20)
	for range cap(pages) {
		go func() {
			p, err := l.DIDs(t.Context(), q)
			if err != nil {
				t.Error(err)
			}
			pages <- p
		}()
	}
	first := <-pages
	for range cap(pages) - 1 {
		if p := <-pages; !reflect.DeepEqual(p, first) {
			t.Errorf("%v, not %v", p, first)
		}
	}
}
