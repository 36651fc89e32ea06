package db_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/link"
)

var (
	soak     = flag.Int("soak", 0, "how many more seeds the property tests run")
	thorough = flag.Bool("thorough", false,
		"run all seeds of the property tests, and not a quarter of them, and the other tests at their full sizes")
)

// history makes random events over a world so small that they collide: few accounts, records and targets.
type history struct {
	r    *rand.Rand
	now  int64
	rev  uint64
	seq  uint64
	dids []string
	tids bool // record keys are TIDs of the past, so that no link's rank depends on which event was seen first
	// recent has record keys be TIDs of the last hour, in steps of minutes, of which many have come before
	recent bool
	old    bool // links to web pages are spelled as an older program did
}

func newHistory(seed uint64) *history {
	h := &history{r: rand.New(rand.NewPCG(seed, 1)), now: 1_770_000_000_000_000}
	for i := range 5 {
		h.dids = append(h.dids, fmt.Sprintf("did:plc:%024d", i))
	}
	return h
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func (h *history) tid(us int64) string { return string(link.AppendTID(nil, uint64(us)<<10)) }

func (h *history) rkey() string {
	n := int64(h.r.IntN(4))
	if h.recent {
		return h.tid(h.now - h.now%120_000_000 - 120_000_000*int64(h.r.IntN(30)) + n)
	}
	if h.tids {
		return h.tid(1_760_000_000_000_000 + n)
	}
	return pick(h.r, h.tid(1_760_000_000_000_000+n), h.tid(1_760_000_000_000_000+n), h.tid(1_990_000_000_000_000+n),
		"self", "key:"+fmt.Sprint(n),
		pick(h.r, "2024", "0123", "1e5", "-7", "1.5"))
}

func (h *history) collection() string {
	return pick(h.r, "app.bsky.feed.like", "app.bsky.graph.listitem", "com.example.thing")
}

// oldSpellings are links as they were spelled before the rules of schemes were followed: pages of two hosts, what needs
// no rewriting, and what is no link any more.
var oldSpellings = []string{"https://example.com", "https://example.com:443", "https://example.com:443/",
	"https://example.com/",
	"https://b%C3%BCcher.example", "https://b%C3%BCcher.example/", "https://xn--bcher-kva.example/",
	"http://example.com:80/a",
	"http://example.com/a", "mailto:a@example.com", "https://" + strings.Repeat("x", 8184)}

func (h *history) links() []db.Link {
	links := make([]db.Link, h.r.IntN(4))
	for i := range links {
		did := pick(h.r, h.dids...)
		links[i] = db.Link{Path: pick(h.r, "subject", "subject.uri", "list", "a[].b"), Target: pick(h.r,
			did, "at://"+did, "at://"+did+"/app.bsky.feed.post", "at://"+did+"/app.bsky.feed.post/"+h.tid(1_760_000_000_000_000),
			"at://"+did+"/app.bsky.actor.profile/self", "https://example.com/", "at://example.com/a",
			"did:web:elsewhere.example")}
		if h.old && h.r.IntN(2) == 0 {
			links[i].Target = pick(h.r, oldSpellings...)
		}
	}
	return links
}

// next is one step: most often one event, sometimes a commit of several, or a resync.
func (h *history) next() []apply.Event {
	h.now += int64(h.r.IntN(5_000_000))
	h.rev = uint64(h.now) << 10
	did := pick(h.r, h.dids...)
	var events []apply.Event
	switch n := h.r.IntN(100); {
	case n < 6:
		for range pick(h.r, 1, 1, 1+h.r.IntN(5)) { // an account that changes its mind, in one batch or over several
			e := h.event(did, db.OpAccount)
			e.Status = pick(h.r, db.StatusActive, db.StatusActive, db.StatusDeactivated, db.StatusTakendown,
				db.StatusDeleted)
			events = append(events, e)
			h.now += int64(h.r.IntN(1000))
		}
	case n < 9:
		events = append(events, h.event(did, db.OpSync))
		for range h.r.IntN(6) {
			events = append(events, h.recordEvent(did, db.OpCreate))
		}
		if h.r.IntN(3) == 0 {
			h.now += 61_000_000
		}
	case n < 15:
		h.now += 100_000
		for range 1 + h.r.IntN(3) {
			events = append(events, h.recordEvent(did, pick(h.r, db.OpCreate, db.OpUpdate, db.OpDelete)))
		}
	default:
		events = append(events, h.recordEvent(did, pick(h.r, db.OpCreate, db.OpCreate, db.OpUpdate, db.OpDelete)))
	}
	return distinctPaths(events)
}

// distinctPaths drops what a repo can't have: two operations on one record in one commit.
func distinctPaths(events []apply.Event) []apply.Event {
	seen, out := map[string]bool{}, events[:0]
	for _, e := range events {
		path := e.Collection + "/" + e.Rkey
		if e.Rkey == "" || !seen[path] {
			out = append(out, e)
		}
		seen[path] = true
	}
	return out
}

func (h *history) event(did string, op db.Op) apply.Event {
	h.seq++
	return apply.Event{Seq: h.seq, TimeUS: h.now, Op: op, DID: did, Rev: string(link.AppendTID(nil, h.rev))}
}

func (h *history) recordEvent(did string, op db.Op) apply.Event {
	e := h.event(did, op)
	e.Collection, e.Rkey = h.collection(), h.rkey()
	if op != db.OpDelete {
		e.Links = h.links()
		h.content(&e)
	}
	return e
}

// content gives a record one of a few bodies with its links. Now and then the upstream says something else of it, or
// nothing, or a body is what its CID doesn't say.
func (h *history) content(e *apply.Event) {
	e.Body = fmt.Appendf(nil, "%s: %v, %d", e.Collection, e.Links, h.r.IntN(3))
	switch e.CID = body.Sum(e.Body).CID(); h.r.IntN(20) {
	case 0:
		e.Body = nil
	case 1:
		e.CID = ""
	case 2:
		e.Body, e.CID = nil, ""
	case 3:
		e.Body = append(e.Body, '!')
	case 4:
		e.CID = "bafkreias7oxbr6swsuggccmtnqpoeami4jza5x4w3urltn6gzhqf4k6k2e" // a blob's
	}
}

func open(t *testing.T, dir string) *db.Store {
	t.Helper()
	return openWith(t, db.Config{Dir: dir})
}

func openWith(t *testing.T, cfg db.Config) *db.Store {
	t.Helper()
	if cfg.Disk == nil {
		cfg.Disk = unknownDisk
	}
	if cfg.Pacer == nil {
		cfg.Pacer = &disk.Pacer{}
	}
	s, err := db.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// unknownDisk is the disk of a store that must not look at the disk of the machine, which may be nearly full.
func unknownDisk(string) (free, total int64, err error) { return 0, 0, nil }

// notShort leaves a test out with -short, as the race detector runs them: it is slow, and what it looks for is in the
// tests of the store as one process.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short")
	}
}

// fraction returns by what the sizes of a test are divided: by of, because go test ./... must stay under five minutes
// on two cores; by three times of with -short, because a test takes many times as long under the race detector; by 1
// with -thorough and in a soak. What depends on each other is divided alike, so that the test takes the same steps.
func fraction(of int) int {
	switch {
	case *thorough || *soak > 0:
		return 1
	case testing.Short():
		return 3 * of
	}
	return of
}

// seeds returns how many seeds a test runs: a sixth of n by default, because go test ./... must stay under five
// minutes on two cores; of these at most two with -short, as the race detector runs them; all of them with -thorough,
// and more in a soak.
func seeds(n int) uint64 {
	if *thorough || *soak > 0 {
		return uint64(n + *soak)
	}
	n = (n + 5) / 6
	if testing.Short() {
		n = min(n, 2)
	}
	return uint64(n)
}

// untilNoJobs waits until no change of an account's status is under way, for until then counts may lie behind lists.
func untilNoJobs(t *testing.T, s *db.Store) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		st, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Jobs == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are still under way after a minute", st.Jobs)
		}
	}
}

// compareBodies holds the bodies of a store that always kept them in this way against the model.
func compareBodies(t *testing.T, m *dbtest.Model, s *db.Store, cfg db.Config) {
	t.Helper()
	err := m.CompareBodies(t.Context(), s, func(db.Record) bool {
		return cfg.Bodies == db.BodiesOff || cfg.Bodies == db.BodiesWindow && cfg.ReplayWindow > 0
	})
	if err != nil {
		t.Fatalf("bodies %v: %v", cfg.Bodies, err)
	}
}

// TestStoreEqualsModel runs random histories, in batches of random size, with restarts and with events that come again,
// and compares every answer.
func TestStoreEqualsModel(t *testing.T) {
	t.Parallel()
	for seed := range seeds(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			// Most seeds seal after a few hundred links and forget the log after minutes, so that all of merging,
			// pruning and reading from files takes part; a clock of their own makes them age.
			var clock atomic.Int64 // seconds since 1970; the store's workers read it too
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				SetsOver: 1 + int(seed%5), ShortList: 2 - 2*int64(seed%3/2), // sets count accounts, and in a third reading does

				Bodies: db.Bodies(seed % 3)}
			if seed%4 != 0 {
				cfg.JobRecords, cfg.JobRest = 2, -1
				cfg.SealBytes, cfg.CacheBytes, cfg.ReplayWindow = 4<<10<<(seed%3), 1<<16, time.Duration(seed%5)*10*time.Minute
			}
			var m dbtest.Model
			var sent []apply.Event
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			for step := range 60 / fraction(2) {
				var batch []apply.Event
				if len(sent) > 0 && h.r.IntN(4) == 0 {
					batch = append(batch, sent[h.r.IntN(len(sent)):]...) // a rewind: these come again
				}
				for range h.r.IntN(40) {
					events := h.next()
					batch, sent = append(batch, events...), append(sent, events...)
					for _, e := range events {
						m.Apply(e)
					}
				}
				for len(batch) > 0 {
					n := 1 + h.r.IntN(len(batch))
					if _, err := s.Apply(db.Batch{Host: "test", Events: batch[:n]}); err != nil {
						t.Fatal(err)
					}
					batch = batch[n:]
					if h.r.IntN(12) == 0 { // in the middle of a rewind too
						if err := s.Close(); err != nil {
							t.Fatal(err)
						}
						s = openWith(t, cfg)
					}
				}
				clock.Add(int64(h.r.IntN(120) - 20))
				if step%3 == 2 {
					if err := s.PruneTick(); err != nil {
						t.Fatal(err)
					}
				}
				if step%4 == 3 {
					untilNoJobs(t, s)
					if err := m.Compare(t.Context(), s, dbtest.Depth{Page: 1 + h.r.IntN(5), Many: true}); err != nil {
						t.Fatalf("step %d, %d events: %v", step, len(sent), err)
					}
					compareBodies(t, &m, s, cfg)
				}
			}
		})
	}
}
