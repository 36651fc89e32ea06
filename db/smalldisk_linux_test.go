package db_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/keep"
)

// smallDisk mounts a file system of some bytes in memory. Only root may: without the right it leaves the test out.
func smallDisk(t *testing.T, bytes int) (dir string) {
	t.Helper()
	if !*thorough {
		t.Skip("with -thorough: it fills a disk ten times")
	}
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if err != nil {
		t.Skipf("a file system can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// freeOf returns the free bytes of a file system.
func freeOf(t *testing.T, dir string) int64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// crowd applies batches of likes, each batch of a page of its own, and knows how many likes each page has.
type crowd struct {
	t     *testing.T
	s     *db.Store
	cfg   db.Config
	r     *rand.Rand
	seq   uint64
	pages []int64 // the time of the first like of each page, in microseconds since 1970
}

const crowdBatch = 2000

func (c *crowd) open() {
	c.t.Helper()
	c.s = openWith(c.t, c.cfg)
}

func (c *crowd) page(i int) string { return fmt.Sprintf("https://%d.example/", i) }

// next returns the likes of the next page.
func (c *crowd) next() (events []apply.Event) {
	us := c.cfg.Now().UnixMicro()
	for i := range crowdBatch {
		c.seq++
		tid := newHistory(0).tid(us + int64(i))
		events = append(events, apply.Event{Seq: c.seq, TimeUS: us + int64(i), Op: db.OpCreate,
			DID: fmt.Sprintf("did:plc:%024d", i), Rev: tid, Collection: "app.bsky.feed.like", Rkey: tid,
			Links: []db.Link{{Path: "subject.uri", Target: c.page(len(c.pages))},
				{Path: "via", Target: fmt.Sprintf("https://%016x.example/", c.r.Uint64())}}}) // what no block can compress
	}
	c.pages = append(c.pages, us)
	return events
}

// compare compares the count and the list of each page with the likes that are not behind the horizon.
func (c *crowd) compare() {
	c.t.Helper()
	for i, us := range c.pages {
		want := min(max(us+crowdBatch-max(c.s.FitUS(), us), 0), crowdBatch)
		n := must(c.s.CountLinks(c.t.Context(), c.page(i), likes))
		list := must(c.s.Links(c.t.Context(), db.ListQuery{Target: c.page(i), Source: likes, Limit: crowdBatch}))
		if n != want || int64(len(list.Items)) != want || list.Total != want {
			c.t.Fatalf("page %d of %d has %d likes, and lists %d of %d; want %d", i, len(c.pages), n, len(list.Items),
				list.Total, want)
		}
	}
}

// TestSmallDisk fills a small file system ten times over, under a budget of nine tenths of it: it applies ten times as
// many likes as it had applied when the first of them had to go. A tenth of the file system stays free at each moment,
// indexing goes on by itself, and every page has the likes that are kept.
func TestSmallDisk(t *testing.T) {
	const size = 56 << 20
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	began := time.Now()
	c := &crowd{t: t, r: rand.New(rand.NewPCG(1, 1)), cfg: db.Config{Disk: disk.Space,
		Dir: smallDisk(t, size), SealBytes: 256 << 10, CacheBytes: 1 << 20,
		Budget: disk.Budget{Percent: 90}, Keep: must(keep.Parse("*=fit")), ReplayWindow: 10 * time.Minute,
		Checkpoint: must(checkpoint.Parse("200 frames")),
		Now:        func() time.Time { return time.Unix(clock.Load(), 0).Add(time.Since(began)) }}}
	c.open()
	defer func() { _ = c.s.Close() }()
	least := freeOf(t, c.cfg.Dir)
	full := 0 // pages when the horizon first moves
	pauses := 0
	for full == 0 || len(c.pages) < 10*full {
		if _, err := c.s.Apply(db.Batch{Host: "h", Events: c.next()}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			clock.Add(120)
			if err := c.s.PruneTick(); err != nil {
				t.Fatal(err)
			}
			untilCompacted(t, c.s)
		}
		if full == 0 && c.s.FitUS() > 0 {
			full = len(c.pages)
		}
		least = min(least, freeOf(t, c.cfg.Dir))
		if c.s.Paused() != "" { // while a compaction ran, by a look before its end
			pauses++
			pollUntil(t, "indexing resumes by itself", func() bool { return c.s.Paused() == "" })
		}
		if why := c.s.Degraded(); why != "" {
			t.Fatalf("page %d: %s", len(c.pages), why)
		}
		if len(c.pages)%100 == 0 {
			c.compare()
			if err := c.s.Close(); err != nil {
				t.Fatal(err)
			}
			c.open()
		}
	}
	c.compare()
	kept := time.Duration(c.s.LogClock()-c.s.FitUS()) * time.Microsecond
	t.Logf("%d likes, %d until the first had to go, those of the last %s are kept; at least %d bytes of %d stayed free; "+
		"%d pauses",
		len(c.pages)*crowdBatch, full*crowdBatch, kept, least, size, pauses)
	if c.s.FitUS() == 0 || least < size/10 {
		t.Errorf("%s are kept, and at least %d bytes stayed free", kept, least)
	}
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := check.Run(t.Context(), c.cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// TestDiskOfOthers: other programs fill the file system ten times, to the reserve or to its last byte, and free it
// again. Indexing pauses, and queries go on. Then indexing resumes by itself, also after a restart on the full disk.
// Nothing is lost.
func TestDiskOfOthers(t *testing.T) {
	c := &crowd{t: t, r: rand.New(rand.NewPCG(1, 1)), cfg: db.Config{Disk: disk.Space,
		Dir: smallDisk(t, 64<<20), SealBytes: 256 << 10, CacheBytes: 1 << 20,
		Checkpoint: must(checkpoint.Parse("200 frames")), Now: time.Now}}
	c.open()
	defer func() { _ = c.s.Close() }()
	if _, err := c.s.Apply(db.Batch{Host: "h", Events: c.next()}); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(c.cfg.Dir, "other")
	for round := range 10 {
		untilCompacted(t, c.s) // a file that is written when the last byte goes is a fault, and ends writing
		fillDisk(t, other, []int64{8 << 20, 0}[round%2])
		c.compare()
		batch := db.Batch{Host: "h", Events: c.next()}
		applied := make(chan error, 1)
		go func() {
			_, err := c.s.Apply(batch)
			applied <- err
		}()
		pollUntil(t, "indexing is paused", func() bool {
			if err := c.s.Failed(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			return c.s.Paused() != ""
		})
		n, err := c.s.CountLinks(t.Context(), c.page(0), likes)
		if err != nil || n != crowdBatch {
			t.Fatalf("while indexing is paused, a page has %d likes, %v", n, err)
		}
		if round%3 == 2 {
			if err := c.s.Close(); err != nil {
				t.Logf("round %d: close: %v", round, err)
			}
			if err := <-applied; !errors.Is(err, db.ErrPaused) {
				t.Fatal(err)
			}
			s, err := db.Open(c.cfg)
			if err != nil && !disk.IsFull(err) {
				t.Fatalf("round %d: open on the full disk: %v", round, err)
			}
			t.Logf("round %d: open on the full disk: %v", round, err)
			if err := os.Remove(other); err != nil {
				t.Fatal(err)
			}
			if s == nil {
				c.open()
			} else {
				c.s = s
			}
			_, err = c.s.Apply(batch)
			applied <- err
		} else if err := os.Remove(other); err != nil {
			t.Fatal(err)
		}
		if err := <-applied; err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		c.compare()
	}
	if why := c.s.Degraded(); why != "" {
		t.Error(why)
	}
	if err := c.s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := check.Run(t.Context(), c.cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// fillDisk writes a file until the file system has at most so many free bytes.
func fillDisk(t *testing.T, path string, free int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for freeOf(t, filepath.Dir(path)) > free {
		_, err := f.Write(make([]byte, 64<<10))
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func pollUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s", what)
		}
	}
}
