package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
)

// memory is a log in memory.
type memory struct {
	mu     sync.Mutex
	rows   []db.LogEntry
	pruned uint64
	commit chan struct{}
	reads  int
	fails  bool
}

func newMemory() *memory { return &memory{commit: make(chan struct{})} }

func (m *memory) add(entries ...db.LogEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range entries {
		e.Seq, e.TimeUS = uint64(len(m.rows)+1), time.Now().UnixMicro()
		m.rows = append(m.rows, e)
	}
	close(m.commit)
	m.commit = make(chan struct{})
}

// counts reports whether a row is more than bookkeeping.
func (m *memory) counts(seq uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[seq-1].Op != 0
}

func (m *memory) Seq() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.rows))
}

func (m *memory) Commits() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit
}

func (m *memory) Log(_ context.Context, after uint64, limit int) ([]db.LogEntry, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	to := min(after+uint64(limit), uint64(len(m.rows)))
	switch {
	case m.fails:
		return nil, after, errors.New("disk on fire")
	case to <= after:
		return nil, after, nil
	case after < m.pruned:
		return nil, after, db.ErrLogPruned
	}
	var entries []db.LogEntry
	for _, e := range m.rows[after:to] {
		if e.Op != 0 { // bookkeeping rows
			entries = append(entries, e)
		}
	}
	return entries, to, nil
}

func (m *memory) SeqAt(_ context.Context, us int64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := slices.IndexFunc(m.rows, func(e db.LogEntry) bool { return e.TimeUS >= us })
	if n < 0 {
		n = len(m.rows)
	}
	if uint64(n) < m.pruned {
		return 0, db.ErrLogPruned
	}
	return uint64(n), nil
}

func entry(op db.Op, rkey string, links ...string) db.LogEntry {
	e := db.LogEntry{Op: op, DID: "did:plc:alice", Collection: "app.bsky.feed.like", Rkey: rkey, Rev: "3l"}
	for _, target := range links {
		l := db.Link{Path: "subject.uri", Target: target}
		if op == db.OpDelete {
			e.Removed = append(e.Removed, l)
		} else {
			e.Added = append(e.Added, l)
		}
	}
	return e
}

// bubble runs a tail in a synctest bubble.
func bubble(t *testing.T, c Config, f func(t *testing.T, m *memory, tail *Tail, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		c.Log = m
		tail := New(c)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tail.Run(ctx) })
		stop := func() { cancel(); running.Wait() }
		f(t, m, tail, stop)
		stop()
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestFromLogToTail: a subscriber with any cursor gets every row after it once and in order, while the log grows.
func TestFromLogToTail(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, Config{Events: 40}, func(t *testing.T, m *memory, tail *Tail, stop func()) {
				r := rand.New(rand.NewPCG(seed, 7))
				grow := func(n int) {
					for range n {
						e := entry(db.OpCreate, fmt.Sprint(m.Seq()), "https://example.com/")
						if r.IntN(5) == 0 {
							e = db.LogEntry{}
						}
						m.add(e)
						if r.IntN(3) == 0 {
							time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
						}
					}
				}
				grow(r.IntN(300))
				var subs sync.WaitGroup
				ended := make(chan struct{})
				for range 8 {
					hold := r.IntN(2) == 0
					var cursor *uint64
					from := m.Seq()
					if r.IntN(3) > 0 {
						from = uint64(r.IntN(int(m.Seq()) + 1))
						cursor = &from
					}
					sub := must(tail.Subscribe(t.Context(), Options{Cursor: cursor, Hold: hold}))
					subs.Go(func() {
						defer sub.Close()
						at, closed := from, false
						for !closed {
							events, err := sub.Next(t.Context(), time.Minute)
							closed = errors.Is(err, ErrClosed)
							if err != nil && !closed {
								t.Errorf("behind %d: %v", at, err)
								return
							}
							for _, e := range events {
								for at++; at < e.Seq; at++ {
									if m.counts(at) {
										t.Errorf("row %d was left out before %d", at, e.Seq)
									}
								}
								if e.Seq != at {
									t.Errorf("row %d after %d", e.Seq, at-1)
								}
								if hold && sub.current && time.Since(e.At) < defaultHold {
									t.Errorf("row %d came after %s", e.Seq, time.Since(e.At))
								}
							}
						}
						<-ended
						for at++; at <= m.Seq(); at++ {
							if m.counts(at) && !hold {
								t.Errorf("row %d never came", at)
							}
						}
					})
					grow(r.IntN(30))
				}
				grow(100)
				time.Sleep(time.Minute)
				grow(3)
				synctest.Wait()
				close(ended)
				stop()
				subs.Wait()
			})
		})
	}
}

// TestHold: a link that is removed within the hold is never delivered. Every other link and its removal are delivered,
// in order and after the hold.
func TestHold(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(t *testing.T, m *memory, tail *Tail, stop func()) {
		at := func(s float64) { time.Sleep(time.Duration(s * float64(time.Second))) }
		const a, b = "https://example.com/a", "https://example.com/b"
		m.add(entry(db.OpCreate, "old", a)) // two seconds before the first subscriber: the tail starts with this row
		at(2)
		zero := uint64(0)
		late := must(tail.Subscribe(t.Context(), Options{Hold: true, Cursor: &zero}))
		held := must(tail.Subscribe(t.Context(), Options{Hold: true}))
		instant := must(tail.Subscribe(t.Context(), Options{}))
		got := map[*Subscription][]string{}
		var mu sync.Mutex
		var subs sync.WaitGroup
		begin := time.Now()
		for _, s := range []*Subscription{late, held, instant} {
			subs.Go(func() {
				defer s.Close()
				for {
					events, err := s.Next(t.Context(), time.Hour)
					if err != nil {
						return
					}
					for _, e := range events {
						links, _ := s.Wanted(e, nil)
						for _, i := range links {
							op := "+"
							if e.Links[i].Removed {
								op = "-"
							}
							mu.Lock()
							got[s] = append(got[s], fmt.Sprintf("%s%s%s@%.0f", op, e.Rkey,
								strings.TrimPrefix(e.Links[i].Subject, "https://example.com/"), time.Since(begin).Seconds()))
							mu.Unlock()
						}
					}
				}
			})
		}
		m.add(entry(db.OpDelete, "old", a)) // t=0: 2 s after its creation
		m.add(entry(db.OpCreate, "kept", a))
		m.add(entry(db.OpCreate, "brief", a, b))
		at(10)
		change := entry(db.OpUpdate, "brief", b)
		change.Added, change.Removed = []db.Link{{Path: "subject.uri", Target: "https://example.com/c"}},
			[]db.Link{{Path: "subject.uri", Target: a}}
		m.add(change) // t=10: a is removed, c is added
		at(5)
		m.add(entry(db.OpDelete, "brief", b, "https://example.com/c")) // t=15
		m.add(entry(db.OpCreate, "brief", b))                          // once more
		at(15)
		m.add(entry(db.OpDelete, "kept", a)) // t=30
		at(60)
		stop()
		subs.Wait()
		for s, want := range map[*Subscription]string{
			instant: "-olda@0 +kepta@0 +briefa@0 +briefb@0 -briefa@10 +briefc@10 -briefb@15 -briefc@15 +briefb@15 -kepta@30",
			held:    "-olda@21 +kepta@21 +briefb@36 -kepta@51",
			late:    "+kepta@21 +briefb@36 -kepta@51",
		} {
			if have := strings.Join(got[s], " "); have != want {
				t.Errorf("got  %s\nwant %s", have, want)
			}
		}
	})
}

func TestCursors(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Events: 20}, func(t *testing.T, m *memory, tail *Tail, _ func()) {
		time.Sleep(3 * 365 * 24 * time.Hour) // bubbles begin in 2000, when a time in microseconds has 15 digits
		for i := range 50 {
			m.add(entry(db.OpCreate, fmt.Sprint(i), "https://example.com/"))
			time.Sleep(time.Second)
		}
		m.pruned = 10
		now := uint64(time.Now().UnixMicro())
		for _, c := range []struct {
			name   string
			cursor uint64
			first  uint64 // first delivered row
			err    error
		}{
			{"all", 0, 0, ErrOutdated},
			{"just gone", 9, 0, ErrOutdated},
			{"just there", 10, 11, nil},
			{"in the tail", 45, 46, nil},
			{"the end", 50, 51, nil},
			{"ahead", 51, 0, ErrFuture},
			{"far ahead", timesFrom - 1, 0, ErrFuture},
			{"a time", now - 10_000_000, 41, nil},
			{"a time long gone", timesFrom, 0, ErrOutdated},
			{"now", now, 51, nil},
			{"a time to come", now + 1, 0, ErrFuture},
			{"the largest", 1<<63 - 1, 0, ErrFuture},
		} {
			sub, err := tail.Subscribe(t.Context(), Options{Cursor: &c.cursor})
			if !errors.Is(err, c.err) {
				t.Errorf("%s: %v", c.name, err)
			}
			if err != nil {
				continue
			}
			if c.first == 51 {
				if sub.at != 50 {
					t.Errorf("%s: behind %d", c.name, sub.at)
				}
			} else if events, err := sub.Next(t.Context(), time.Second); err != nil || len(events) == 0 ||
				events[0].Seq != c.first {
				t.Errorf("%s: %v, %v", c.name, events, err)
			}
			sub.Close()
		}
		if n := tail.Subscribers(); n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

// TestTooSlow: a current subscriber that falls behind the tail gets ErrTooSlow; one that replays does not.
func TestTooSlow(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Events: 20}, func(t *testing.T, m *memory, tail *Tail, _ func()) {
		slow := must(tail.Subscribe(t.Context(), Options{}))
		defer slow.Close()
		zero := uint64(0)
		behind := must(tail.Subscribe(t.Context(), Options{Cursor: &zero}))
		defer behind.Close()
		m.add(entry(db.OpCreate, "x", "https://example.com/"))
		synctest.Wait()
		if events, err := slow.Next(t.Context(), time.Second); len(events) != 1 || err != nil {
			t.Fatal(events, err)
		}
		for range 30 {
			m.add(entry(db.OpCreate, "x", "https://example.com/"))
		}
		synctest.Wait()
		if _, err := slow.Next(t.Context(), time.Second); !errors.Is(err, ErrTooSlow) {
			t.Errorf("%v", err)
		}
		n := 0
		for range 3 {
			events, err := behind.Next(t.Context(), time.Second)
			if err != nil {
				t.Error(err)
			}
			n += len(events)
		}
		if n != 31 {
			t.Errorf("%d events were replayed", n)
		}
		m.mu.Lock()
		m.pruned = 25
		m.mu.Unlock()
		if _, err := tail.Subscribe(t.Context(), Options{Cursor: &zero}); !errors.Is(err, ErrOutdated) {
			t.Errorf("%v", err)
		}
	})
}

// TestTailWithoutSubscribers: without subscribers the log isn't read. A failed read is retried.
func TestTailWithoutSubscribers(t *testing.T) {
	t.Parallel()
	failures := 0
	bubble(t, Config{Failed: func(error) { failures++ }}, func(t *testing.T, m *memory, tail *Tail, _ func()) {
		m.add(entry(db.OpCreate, "x", "https://example.com/"))
		synctest.Wait()
		if m.reads != 0 {
			t.Errorf("%d reads without subscribers", m.reads)
		}
		sub := must(tail.Subscribe(t.Context(), Options{}))
		m.mu.Lock()
		m.fails = true
		m.mu.Unlock()
		m.add(entry(db.OpCreate, "y", "https://example.com/"))
		time.Sleep(3500 * time.Millisecond)
		m.mu.Lock()
		m.fails = false
		m.mu.Unlock()
		if events, err := sub.Next(t.Context(), time.Minute); len(events) != 1 || err != nil || failures < 3 {
			t.Errorf("%d events, %v, %d failures", len(events), err, failures)
		}
		if events, err := sub.Next(t.Context(), time.Minute); len(events) != 0 || err != nil {
			t.Errorf("%d events, %v", len(events), err)
		}
		sub.Close()
		m.add(entry(db.OpCreate, "z", "https://example.com/"))
		synctest.Wait()
		if tail.running || tail.events != nil || len(tail.held) > 0 {
			t.Error("the tail keeps events without subscribers")
		}
	})
}

// TestFilter compares filters with a plain implementation of their definition.
func TestFilter(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	subjects := []string{"did:plc:a", "did:plc:b", "at://did:plc:a", "at://did:plc:a/x.y.z/1", "at://did:plc:ab/x.y.z/1",
		"https://a.example/", "https://a.example/b", "https://b.example/", "at://alice.example.com/x.y.z/1"}
	prefixes := []string{"https://", "https://a", "https://a.example/b", "at://did:plc:a", "at://did:plc:a/", "d", "z"}
	pickSome := func(of []string) []string {
		var some []string
		for _, s := range of {
			if r.IntN(4) == 0 {
				some = append(some, s)
			}
		}
		return some
	}
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	for range 5000 {
		f := Filter{Subjects: pickSome(subjects), Prefixes: pickSome(prefixes),
			SubjectDIDs: pickSome([]string{"did:plc:a", "did:plc:b"}),
			Sources:     pickSome([]string{"a.b.c:x", "a.b.d:x"}), Collections: pickSome([]string{"a.b.c", "a.b.d"}),
			Actors: pickSome([]string{"did:plc:a", "did:plc:c"})}
		m := f.Match()
		collection, did := []string{"a.b.c", "a.b.d"}[r.IntN(2)], []string{"did:plc:a", "did:plc:b", "did:plc:c"}[r.IntN(3)]
		subject := subjects[r.IntN(len(subjects))]
		e := newEvent(db.LogEntry{Op: db.OpCreate, DID: did, Collection: collection,
			Added: []db.Link{{Path: "x", Target: subject}}}, time.Time{})
		of := ""
		switch {
		case strings.HasPrefix(subject, "did:"):
			of = subject
		case strings.HasPrefix(subject, "at://did:"):
			of = strings.Split(subject, "/")[2]
		}
		wanted := len(f.Subjects)+len(f.Prefixes)+len(f.SubjectDIDs) == 0 || slices.Contains(f.Subjects, subject) ||
			slices.ContainsFunc(f.Prefixes, func(p string) bool { return strings.HasPrefix(subject, p) }) ||
			slices.Contains(f.SubjectDIDs, of)
		want := wanted && in(f.Sources, collection+":x") && in(f.Collections, collection) && in(f.Actors, did)
		if got := m.Event(e) && m.Link(&e.Links[0]); got != want {
			t.Fatalf("%+v and %s from %s by %s: %t", f, subject, collection, did, got)
		}
	}
}

// meanwhile is a log that gains a row while a subscriber enters.
type meanwhile struct {
	*memory
	once sync.Once
}

func (m *meanwhile) SeqAt(ctx context.Context, us int64) (uint64, error) {
	m.once.Do(func() { m.add(entry(db.OpCreate, "b", "at://b")) })
	return m.memory.SeqAt(ctx, us)
}

// TestLiveFromTheFirst: a subscriber without a cursor gets rows as live, also those committed while it enters.
func TestLiveFromTheFirst(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		cursor *uint64
		want   string
	}{{"without a cursor", nil, "2 live"}, {"with a cursor", new(uint64), "1 replay, 2 replay"}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := &meanwhile{memory: newMemory()}
			m.add(entry(db.OpCreate, "a", "at://a"))
			tail := New(Config{Log: m})
			s, err := tail.Subscribe(t.Context(), Options{Cursor: tc.cursor})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := tail.read(t.Context()); err != nil {
				t.Fatal(err)
			}
			var got []string
			for {
				events, err := s.Next(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				if len(events) == 0 {
					break
				}
				for _, e := range events {
					got = append(got, fmt.Sprint(e.Seq, map[bool]string{true: " replay", false: " live"}[s.Replay(e.Seq)]))
				}
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
