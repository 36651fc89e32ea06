package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/keep"
)

// year is a store on an accelerated clock, with random events, a model, a replica of its segments, and a follower.
type year struct {
	t        *testing.T
	r        *rand.Rand
	s        *db.Store
	m        dbtest.Model
	cfg      db.Config
	rules    string
	times    map[string]time.Duration
	clock    atomic.Int64 // seconds since 1970
	seq      uint64
	records  []db.Record // some of those that events have created
	follower *db.Follower
	replica  string // directory with a copy of each segment
	did      map[string]int

	least, most       int64 // bytes of the files at the end of a day
	shortest, longest time.Duration
	horizons          map[string]int64 // by rules and pattern
	fitUS             int64

	mu   sync.Mutex
	step string // at which the store is killed next; empty: at none
	last string // at which it was killed
}

var errKilled = errors.New("killed")

// newYear opens a store with a budget that leaves so many bytes for files, beside the reserve and the room of the
// largest compaction.
func newYear(t *testing.T, seed uint64, sealBytes int, files int64) *year {
	t.Helper()
	y := &year{t: t, r: rand.New(rand.NewPCG(seed, 9)), replica: t.TempDir(), did: map[string]int{},
		horizons: map[string]int64{}}
	y.clock.Store(1_770_000_000)
	g := &given{}
	g.total.Store(1 << 40)
	g.free.Store(1 << 40)
	y.cfg = db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(y.clock.Load(), 0) }, Disk: g.space,
		SealBytes: sealBytes, CacheBytes: 1 << 20, ReplayWindow: 12 * time.Hour, Bodies: db.BodiesKeep, JobRecords: 20,
		JobRest: -1, Checkpoint: must(checkpoint.Parse("20 frames")), Failpoint: y.failpoint, OnSegment: y.copySegment,
		Fetch: y.fetch}
	s := openWith(t, y.cfg)
	y.cfg.Budget = disk.Budget{Bytes: (must(s.Space(t.Context())).Reserve + files) * 64 / 55} // the compaction takes 9/64
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		y.closeFollower()
		_ = y.s.Close()
	})
	y.setRules(map[string]time.Duration{"app.bsky.graph.*": 0, "app.bsky.feed.repost": 72 * time.Hour, "*": dbtest.Fit})
	y.open()
	return y
}

// failpoint kills the store at the step that arm has picked.
func (y *year) failpoint(name string) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if name != y.step {
		return nil
	}
	y.last = name
	y.step = ""
	return errKilled
}

// arm has the store killed at a random step.
func (y *year) arm() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.step = pick(y.r, "created", "written", "synced", "renamed", "dir-synced", "enter", "entered", "prune", "bodies",
		"part",
		"job", "horizon", "horizon", "horizon")
}

func (y *year) killed() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.last
}

// open opens the store, and moves the model's horizons to where the store's are.
func (y *year) open() {
	y.t.Helper()
	y.cfg.Keep = must(keep.Parse(y.rules))
	var err error
	y.s, err = db.Open(y.cfg)
	for errors.Is(err, errKilled) { // killed as it opened
		y.did["kill at open"]++
		y.s, err = db.Open(y.cfg)
	}
	if err != nil {
		y.t.Fatal(err)
	}
	y.fitUS = 0
}

// keep moves the model's horizons. After a restart the rules' row has the clock: the store may have moved the horizons
// by a clock that it has not stored.
func (y *year) keep() {
	y.t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(y.cfg.Dir, "weft.db")+"?mode=ro")
	if err != nil {
		y.t.Fatal(err)
	}
	defer base.Close()
	var clockUS int64
	if err := base.QueryRow("SELECT clock_us, fit_us FROM retention WHERE rules = ?", y.cfg.Keep.String()).Scan(&clockUS,
		&y.m.FitUS); err != nil && !errors.Is(err, sql.ErrNoRows) {
		y.t.Fatal(err)
	}
	y.m.Keep(y.times, clockUS)
	for _, st := range y.s.Retention() {
		key := y.cfg.Keep.String() + " " + st.Pattern
		if st.HorizonUS < y.horizons[key] {
			y.t.Fatalf("%s: the horizon went back from %d to %d", key, y.horizons[key], st.HorizonUS)
		}
		y.horizons[key] = st.HorizonUS
	}
	us := y.s.FitUS()
	if y.fitUS > 0 && us > y.fitUS {
		y.did["move of fit"]++
		kept := time.Duration(y.s.LogClock()-us) * time.Microsecond
		y.longest = max(y.longest, kept)
		if y.shortest == 0 || kept < y.shortest {
			y.shortest = kept
		}
	}
	y.fitUS = us
}

// apply applies events to the store, and to the model what the store has committed.
func (y *year) apply(events []apply.Event) {
	y.t.Helper()
	for len(events) > 0 {
		_, err := y.s.Apply(db.Batch{Host: "test", Events: events})
		n := after(events, y.s.Cursor("test"))
		if err != nil {
			y.kill()
			n = after(events, y.s.Cursor("test"))
		} else if n < len(events) {
			y.t.Fatalf("the cursor is at event %d of %d", n, len(events))
		}
		for _, e := range events[:n] {
			y.m.Apply(e)
		}
		y.keep()
		events = events[n:]
	}
}

// tick has the horizons moved and the log pruned, and looks whether indexing goes on.
func (y *year) tick() {
	y.t.Helper()
	for range 2 {
		y.clock.Add(120)
		if err := y.s.PruneTick(); err != nil {
			y.kill()
		}
		y.keep()
	}
	if why := y.s.Paused(); why != "" {
		y.t.Fatalf("after %d events: %s", y.seq, why)
	}
}

// settle waits until no job, seal or compaction is due.
func (y *year) settle() {
	y.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n := 1; ; n++ {
		if y.s.Failed() != nil {
			y.kill()
			y.keep()
		}
		st := must(y.s.Stats(y.t.Context()))
		if st.Jobs == 0 && !y.s.CompactionsDue() && y.s.Failed() == nil {
			return
		}
		if time.Now().After(deadline) {
			y.t.Fatalf("after a minute: %d jobs, compactions due %t, degraded %q", st.Jobs, y.s.CompactionsDue(), y.s.Degraded())
		}
		if n%50 == 0 {
			y.clock.Add(3) // the size of the files is believed for two seconds
		}
		time.Sleep(time.Millisecond)
	}
}

// batch returns events of the last hour.
func (y *year) batch(n int) []apply.Event {
	events := make([]apply.Event, n)
	for i := range events {
		y.seq++
		us := (y.clock.Load()-3600)*1_000_000 + int64(i)*3_600_000_000/int64(n)
		events[i] = y.event(us)
		events[i].Seq = y.seq
		events[i].TimeUS = us
		events[i].Rev = newHistory(0).tid(us)
	}
	return events
}

func (y *year) event(us int64) apply.Event {
	e := apply.Event{Op: db.OpCreate, DID: fmt.Sprintf("did:plc:%024d", y.r.IntN(300))}
	n := y.r.IntN(1000)
	switch {
	case n < 4:
		e.Op = db.OpAccount
		e.Status = pick(y.r, db.StatusActive, db.StatusActive, db.StatusActive, db.StatusDeactivated, db.StatusTakendown,
			db.StatusDeleted)
		return e
	case n < 120 && len(y.records) > 0:
		r := y.records[y.r.IntN(len(y.records))]
		e.Op = pick(y.r, db.OpUpdate, db.OpDelete, db.OpDelete)
		e.DID, e.Collection, e.Rkey = r.DID, r.Collection, r.Rkey
	case n < 140:
		e.Collection, e.Rkey = "app.bsky.actor.profile", "self"
	case n < 142:
		e.Collection = "app.bsky.graph.follow"
	case n < 240:
		e.Collection = "app.bsky.feed.post"
	case n < 340:
		e.Collection = "app.bsky.feed.repost"
	default:
		e.Collection = "app.bsky.feed.like"
	}
	if e.Rkey == "" {
		at := us
		switch y.r.IntN(40) {
		case 0, 1:
			at -= y.r.Int64N(72 * 3_600_000_000) // late
		case 2:
			at -= 400 * 24 * 3_600_000_000 // of another year
		case 3:
			at += 240_000_000 // ahead
		}
		e.Rkey = newHistory(0).tid(at)
		r := db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}
		if len(y.records) < 8000 {
			y.records = append(y.records, r)
		} else {
			y.records[y.r.IntN(len(y.records))] = r
		}
	}
	if e.Op != db.OpDelete {
		e.Links = y.links(e.Collection, us)
		e.Body = fmt.Appendf(nil, "%s: %v, %d", e.Collection, e.Links, y.r.IntN(3))
		e.CID = body.Sum(e.Body).CID()
	}
	return e
}

// links returns links of a record: most to the popular posts of the day.
func (y *year) links(collection string, us int64) []db.Link {
	today := us / (24 * 3_600_000_000)
	post := fmt.Sprintf("at://did:plc:%024d/app.bsky.feed.post/%d", y.r.IntN(10), today)
	if y.r.IntN(20) == 0 {
		post = fmt.Sprintf("at://did:plc:%024d/app.bsky.feed.post/%d", y.r.IntN(300), today-y.r.Int64N(30))
	}
	switch collection {
	case "app.bsky.graph.follow":
		return []db.Link{{Path: "subject", Target: fmt.Sprintf("did:plc:%024d", y.r.IntN(100))}}
	case "app.bsky.actor.profile":
		return []db.Link{{Path: "website", Target: "https://example.com/"}}
	case "app.bsky.feed.post":
		return []db.Link{{Path: "embed.record.uri", Target: post}, {Path: "reply.root.uri", Target: post}}
	}
	return []db.Link{{Path: "subject.uri", Target: post}}
}

// copySegment keeps a segment, as a replica does.
func (y *year) copySegment(path string, _ bool) error {
	err := os.Link(path, filepath.Join(y.replica, filepath.Base(path)))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (y *year) fetch(_ context.Context, s db.ManifestFile) error {
	y.did["segment fetched"]++
	return os.Link(filepath.Join(y.replica, s.File), filepath.Join(y.cfg.Dir, "segments", s.File))
}

// loseSegment removes a segment of the closed store.
func (y *year) loseSegment() {
	y.t.Helper()
	files := segmentFiles(y.t, y.cfg.Dir)
	if len(files) == 0 {
		return
	}
	y.did["segment lost"]++
	if err := os.Remove(filepath.Join(y.cfg.Dir, "segments", files[y.r.IntN(len(files))])); err != nil {
		y.t.Fatal(err)
	}
}

// copyKilled copies the directory of a store that has failed, and makes the copy the directory.
func (y *year) copyKilled() {
	y.t.Helper()
	for range 100 {
		dir := filepath.Join(y.t.TempDir(), "copy")
		err := os.CopyFS(dir, os.DirFS(y.cfg.Dir))
		if err == nil {
			y.cfg.Dir = dir
			return
		}
		if !errors.Is(err, fs.ErrNotExist) { // a compaction has ended its file meanwhile
			y.t.Fatal(err)
		}
	}
	y.t.Fatal("the directory of a store that has failed changes all the time")
}

func (y *year) closeFollower() {
	if y.follower != nil {
		_ = y.follower.Close()
		y.follower = nil
	}
}

func removeAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}
