package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// logged is an index with a log of its links, some of which are removed.
type logged struct {
	fake
	mu      *sync.Mutex
	entries []db.LogEntry
	gone    map[db.Record]bool
	past    bool // only the newest row is left
}

func (l *logged) Seq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.entries))
}

func (l *logged) LogLinks(_ context.Context, after uint64, limit int) ([]db.LogEntry, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.past && after < uint64(len(l.entries))-1 {
		return nil, after, db.ErrLogPruned
	}
	to := min(after+uint64(limit), uint64(len(l.entries)))
	return slices.Clone(l.entries[after:to]), to, nil
}

// LogTime returns a time from which rows count, so that all are read.
func (l *logged) LogTime(_ context.Context, after uint64, limit int) (int64, uint64, error) {
	return time.Now().UnixMicro(), min(after+uint64(limit), l.Seq()), nil
}

// LogAge returns 0 for every row, so that all rows are read.
func (l *logged) LogAge(_ context.Context, seq uint64) (time.Duration, error) {
	if seq == 0 {
		return 1 << 62, nil
	}
	return 0, nil
}

func (l *logged) CountsSince(_ context.Context, pairs []db.Pair, since int64) ([]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make([]int64, len(pairs))
	for _, e := range l.entries {
		for i, p := range pairs {
			if e.Collection == p.Source.Collection && e.Added[0] == (db.Link{Path: p.Source.Path, Target: p.Target}) &&
				e.LinkTimeUS() >= since && !l.gone[db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}] {
				counts[i]++
			}
		}
	}
	return counts, nil
}

// topped returns a handler whose counter has read the log of the tests' index.
func topped(t *testing.T) http.Handler {
	t.Helper()
	l := &logged{fake: indexed, mu: &sync.Mutex{}}
	for i, one := range indexed {
		l.entries = append(l.entries, db.LogEntry{TimeUS: timeOf(i), Op: db.OpCreate, DID: one.DID,
			Collection: one.Collection,
			Rkey:       "k", Added: []db.Link{{Path: one.path, Target: one.target}}})
	}
	now := func() time.Time { return time.UnixMicro(timeOf(0)).Add(12 * time.Hour).UTC() }
	s := New(Config{Store: l, Now: now, Logger: slog.New(slog.DiscardHandler)})
	readAll(t, s)
	return s
}

// TestTopHydrated: the content of targets that are records is returned on request, read in batches.
func TestTopHydrated(t *testing.T) {
	t.Parallel()
	bobs := "at://" + bob + "/app.bsky.feed.post/"
	l := &bodied{logged: &logged{fake: indexed, mu: &sync.Mutex{}}}
	now := time.UnixMicro(timeOf(0)).Add(12 * time.Hour).UTC()
	const targets = 50
	for i := range targets - 2 {
		l.entries = append(l.entries, db.LogEntry{TimeUS: timeOf(0), Op: db.OpCreate, DID: carol,
			Collection: "app.bsky.feed.like",
			Rkey:       fmt.Sprint("k", i), Added: []db.Link{{Path: "subject.uri", Target: fmt.Sprint(bobs, i)}}})
	}
	for _, target := range []string{bob, "at://" + carol + "/app.bsky.feed.post/3k"} { // has no body
		l.entries = append(l.entries, db.LogEntry{TimeUS: timeOf(0), Op: db.OpCreate, DID: carol,
			Collection: "app.bsky.feed.like",
			Rkey:       "last" + target, Added: []db.Link{{Path: "subject.uri", Target: target}}})
	}
	s := New(Config{Store: l, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	readAll(t, s)
	for _, hydrate := range []string{"false", "true"} {
		var a wire.Top
		if err := json.Unmarshal([]byte(get(t, s, own("getTop", "limit", fmt.Sprint(targets), "hydrate", hydrate))),
			&a); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for _, one := range a.Subjects {
			wants := hydrate == "true" && strings.HasPrefix(one.Subject, bobs)
			if (one.CID != "") != wants || (string(one.Value) == `{"by":"bob"}`) != wants {
				t.Errorf("hydrate=%s: %+v", hydrate, one)
			}
			if wants {
				kept++
			}
		}
		if len(a.Subjects) != targets || hydrate == "true" && kept != targets-2 {
			t.Errorf("hydrate=%s: %d subjects, %d with content", hydrate, len(a.Subjects), kept)
		}
	}
	if want := (targets + bodiesAtOnce - 1) / bodiesAtOnce; l.reads != want {
		t.Errorf("%d reads of bodies, not %d", l.reads, want)
	}
}

// bodied counts the reads of bodies.
type bodied struct {
	*logged
	reads int
}

func (b *bodied) Bodies(ctx context.Context, records []db.Record) ([]db.Body, error) {
	b.reads++
	return b.logged.Bodies(ctx, records)
}

// readAll makes the counter of a server read the whole log.
func readAll(t *testing.T, s *Server) {
	t.Helper()
	for more := true; more; {
		var err error
		more, err = s.server.top.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTop: the numbers are exact, also after removals, and an unlisted target has at most as many links as the bound.
func TestTop(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
			r := rand.New(rand.NewPCG(seed, 2))
			zipf := rand.NewZipf(r, 1.05+r.Float64()/3, 4, 3000)
			l := &logged{mu: &sync.Mutex{}, gone: map[db.Record]bool{}}
			for i := range 10_000 {
				e := db.LogEntry{TimeUS: now.Add(-time.Duration(10_000-i) * 10 * time.Second).UnixMicro(), Op: db.OpCreate,
					DID:        bob,
					Collection: "app.bsky.feed.like", Rkey: fmt.Sprint("k", i),
					Added: []db.Link{{Path: "subject.uri", Target: fmt.Sprint("did:plc:n", zipf.Uint64())}}}
				l.entries = append(l.entries, e)
				// The target with the most links loses most of them.
				if r.IntN(3) == 0 || e.Added[0].Target == "did:plc:n0" && r.IntN(10) > 0 {
					l.gone[db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}] = true
				}
			}
			s := New(Config{Store: l, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
			readAll(t, s)
			for _, hours := range []int{1, 7, 24} {
				for _, limit := range []int{1, 20, 50} {
					var a wire.Top
					if err := json.Unmarshal([]byte(get(t, s, own("getTop", "hours", fmt.Sprint(hours), "limit", fmt.Sprint(limit)))),
						&a); err != nil {
						t.Fatal(err)
					}
					since, err := time.Parse(time.RFC3339, a.Since)
					if err != nil || since != now.Add(-time.Duration(hours)*time.Hour).UTC() || a.Source != like {
						t.Fatalf("%+v, %v", a, err)
					}
					counts := map[string]int64{}
					for _, e := range l.entries {
						if e.TimeUS >= since.UnixMicro() && !l.gone[db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}] {
							counts[e.Added[0].Target]++
						}
					}
					least := int64(0)
					for i, one := range a.Subjects {
						if one.Links != counts[one.Subject] || i > 0 && one.Links > a.Subjects[i-1].Links {
							t.Errorf("%v, number %d, has %d links", one, i, counts[one.Subject])
						}
						delete(counts, one.Subject)
						least = one.Links
					}
					if len(a.Subjects) < limit {
						least = 0
					}
					for target, n := range counts {
						if n > max(a.Bound, least) {
							t.Errorf("%d hours: %s has %d links and is missing: the last has %d, the bound is %d", hours, target, n, least,
								a.Bound)
						}
					}
					if len(a.Subjects) == 0 {
						t.Errorf("%d hours: nothing is found", hours)
					}
				}
			}
		})
	}
}

// TestTopFile: a server saves the counts for the next one, and its metrics have their span.
func TestTopFile(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
	l := &logged{mu: &sync.Mutex{}}
	for i := range 100 {
		l.entries = append(l.entries, db.LogEntry{Seq: uint64(i + 1), TimeUS: now.Add(-time.Hour).UnixMicro(),
			Op: db.OpCreate, DID: bob,
			Collection: "app.bsky.feed.like", Rkey: fmt.Sprint("k", i),
			Added: []db.Link{{Path: "subject.uri", Target: "did:plc:n"}}})
	}
	var log bytes.Buffer
	config := Config{Store: l, Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		TopFile: filepath.Join(t.TempDir(), "top")}
	for range 2 {
		registry := prometheus.NewRegistry()
		config.Metrics = registry
		s := New(config)
		readAll(t, s)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := s.CountTop(ctx); err != nil { // saves the file
			t.Fatal(err)
		}
		var a wire.Top
		if err := json.Unmarshal([]byte(get(t, s, own("getTop"))), &a); err != nil || len(a.Subjects) != 1 ||
			a.Subjects[0].Links != 100 || a.Bound != 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		for name, want := range map[string]float64{"weft_top_targets": 1, "weft_top_span_seconds": 24 * 3600,
			"weft_top_age_seconds":  0,
			"weft_top_memory_bytes": float64(len("did:plc:n") + 48)} {
			if got := gauge(t, registry, name); got != want {
				t.Errorf("%s is %v, not %v", name, got, want)
			}
		}
		if _, err := os.Stat(config.TopFile); err != nil {
			t.Fatal(err)
		}
		l.past = true // from now on, older rows are only in the file
	}
	if log.String() != "" {
		t.Errorf("the log has %q", log.String())
	}
}

// gauge returns the value of a metric without labels.
func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
