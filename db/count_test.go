package db_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// feed stores posts of 100 accounts with likes and reposts: post n has n%50 likes and n%2 reposts. It returns the pairs
// to ask for, two for each post, with their counts.
func feed(tb testing.TB, s *db.Store, posts int) ([]db.Pair, []db.PairCount) {
	tb.Helper()
	var events []apply.Event
	like := db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}
	repost := db.Source{Collection: "app.bsky.feed.repost", Path: "subject.uri"}
	var pairs []db.Pair
	var counts []db.PairCount
	seq := uint64(0)
	for n := range posts {
		target := fmt.Sprintf("at://did:plc:author%02d/app.bsky.feed.post/3kpost%d", n%100, n)
		for source, links := range map[db.Source]int{like: n % 50, repost: n % 2} {
			for i := range links {
				seq++
				rkey := string(link.AppendTID(nil, (1_700_000_000_000_000+seq)<<10))
				events = append(events, apply.Event{Seq: seq, TimeUS: int64(1_770_000_000_000_000 + seq), Op: db.OpCreate,
					DID: fmt.Sprint("did:plc:n", i/2), Collection: source.Collection, Rkey: rkey, Rev: rkey,
					Links: []db.Link{{Path: source.Path, Target: target}}})
			}
		}
		pairs = append(pairs, db.Pair{Target: target, Source: like}, db.Pair{Target: target, Source: repost})
		counts = append(counts, db.PairCount{Links: int64(n % 50), DIDs: int64((n%50 + 1) / 2)},
			db.PairCount{Links: int64(n % 2), DIDs: int64(n % 2)})
	}
	for len(events) > 0 {
		n := min(1000, len(events))
		if _, err := s.Apply(db.Batch{Host: "test", Events: events[:n]}); err != nil {
			tb.Fatal(err)
		}
		events = events[n:]
	}
	return pairs, counts
}

// TestCountsPause: counts come in the order of the pairs, whatever that is, with one pause for each hundred lists, and
// an error of a pause ends them.
func TestCountsPause(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	pairs, want := feed(t, s, 125)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(pairs), func(i, j int) {
		pairs[i], pairs[j] = pairs[j], pairs[i]
		want[i], want[j] = want[j], want[i]
	})
	pairs = append(pairs, pairs[:100]...) // asked for twice, which costs nothing
	want = append(want, want[:100]...)
	pauses := 0
	got, err := s.Counts(t.Context(), pairs, func() error {
		pauses++
		return nil
	})
	if err != nil || pauses != 2 {
		t.Fatalf("%d pauses, %v", pauses, err)
	}
	for i := range pairs {
		if got[i] != want[i] {
			t.Errorf("%v: %v, want %v", pairs[i], got[i], want[i])
		}
	}
	called := errors.New("called off")
	if _, err := s.Counts(t.Context(), pairs, func() error { return called }); !errors.Is(err, called) {
		t.Errorf("%v", err)
	}
}

// BenchmarkCounts counts 300 lists in a call: two for each of 150 of 20,000 posts, chosen at random.
//
//	go test ./db -run '^$' -bench '^BenchmarkCounts$' -benchtime 2000x
func BenchmarkCounts(b *testing.B) {
	s, err := db.Open(db.Config{Dir: b.TempDir(), SealBytes: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	pairs, _ := feed(b, s, 20_000)
	r := rand.New(rand.NewPCG(1, 1))
	var times []time.Duration
	for b.Loop() {
		var ask []db.Pair
		for range 150 {
			n := 2 * r.IntN(len(pairs)/2)
			ask = append(ask, pairs[n], pairs[n+1])
		}
		begin := time.Now()
		if _, err := s.Counts(b.Context(), ask, nil); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkAccountSources counts the links to each of 10 accounts by source. Each has 2,000 posts, and all have 500,000
// likes. The likes are in random order, so that those of a post lie in many runs.
//
//	go test ./db -run '^$' -bench '^BenchmarkAccountSources$' -count 6
func BenchmarkAccountSources(b *testing.B) {
	s, err := db.Open(db.Config{Dir: b.TempDir(), SealBytes: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := rand.New(rand.NewPCG(1, 1))
	var events []apply.Event
	for seq := range uint64(500_000) {
		rkey := string(link.AppendTID(nil, (1_700_000_000_000_000+seq)<<10))
		target := fmt.Sprintf("at://did:plc:author%d/app.bsky.feed.post/3kpost%d", seq%10, r.IntN(2000))
		events = append(events, apply.Event{Seq: seq + 1, TimeUS: int64(1_770_000_000_000_000 + seq), Op: db.OpCreate,
			DID: fmt.Sprint("did:plc:n", r.IntN(50_000)), Collection: "app.bsky.feed.like", Rkey: rkey, Rev: rkey,
			Links: []db.Link{{Path: "subject.uri", Target: target}}})
		if len(events) == 1000 {
			if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
				b.Fatal(err)
			}
			events = events[:0]
		}
	}
	for n := 0; b.Loop(); n++ {
		did := fmt.Sprint("did:plc:author", n%10)
		page, err := s.AccountSources(b.Context(), db.SourcesQuery{Of: did, Limit: 100})
		if err != nil || page.Total != 50_000 {
			b.Fatal(page, err)
		}
	}
}
