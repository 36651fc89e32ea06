package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// measured is the measurements of the store.
type measured struct {
	Events  int64  `json:"events"`
	Links   int64  `json:"links_added"`
	Live    int64  `json:"links_live"` // links of active accounts at the end
	Load    string `json:"load"`
	Applied struct {
		Took   time.Duration `json:"took_ns"`   // in Apply
		Decode time.Duration `json:"decode_ns"` // reading events, which isn't weft's work
		Settle time.Duration `json:"settle_ns"` // last seal and compactions after the last event
		Slices []float64     `json:"slices"`    // events/s of each tenth
		CPU    []float64     `json:"cpu_us"`    // µs of processor time per event, in each tenth
	} `json:"applied"`
	Commits struct {
		Idle, Seal, Compaction, Both quantiles // by concurrent work
	} `json:"commits"`
	WAL          int64    `json:"wal_bytes"`
	Written      int64    `json:"written_bytes"` // by all write calls
	Work         db.Work  `json:"work"`
	PeakRSS      int64    `json:"peak_rss"`
	Heap         int64    `json:"heap"`
	Memory       int64    `json:"index_memory"` // of the runs in memory, at the end
	AtCompaction *latency `json:"at_compaction,omitempty"`
	AtEnd        *latency `json:"at_end"`
	Disk         disk     `json:"disk"`
	Batches      int      `json:"batches"` // used batches, with those of paced phases
}

// bench is a store during ingest.
type bench struct {
	o      options
	g      generated
	s      *db.Store
	r      *eventReader
	clock  atomic.Int64 // time of the newest event, unix µs
	m      measured
	taken  [4][]time.Duration // times of commits: idle, seal, compaction, both
	phased bool
	rest   []apply.Event // of the present batch
}

// openBench opens a store in the directory. Its clock is that of the events, so that the log is pruned as on a network
// at that rate.
func openBench(o options, g generated, step func(string) error) (*bench, error) {
	b := &bench{o: o, g: g}
	b.clock.Store(firstEventUS)
	var err error
	b.s, err = db.Open(db.Config{
		Dir: filepath.Join(o.Dir, "weft"), Failpoint: step, ReplayWindow: o.Window, Bodies: o.Bodies,
		CacheBytes: o.Cache << 20,
		Now:        func() time.Time { return time.UnixMicro(b.clock.Load()) },
	})
	if err != nil {
		return nil, err
	}
	b.r, err = openEvents(filepath.Join(o.Dir, eventsFile))
	return b, err
}

// firstEventUS is the time of the clock before the first event.
const firstEventUS = 1_767_225_600_000_000

// apply commits the next events: the rest of the present batch, or the next batch, but at most so many.
func (b *bench) apply(most int) (took time.Duration, err error) {
	start := time.Now()
	if len(b.rest) == 0 {
		b.rest, err = b.r.next()
		if err != nil {
			return 0, err
		}
		b.m.Batches++
		b.m.Applied.Decode += time.Since(start)
	}
	events := b.rest[:min(most, len(b.rest))]
	b.rest = b.rest[len(events):]
	b.clock.Store(events[len(events)-1].TimeUS)
	before := b.s.Work()
	start = time.Now()
	a, err := b.s.Apply(db.Batch{Host: "bench", Events: events})
	took = time.Since(start)
	b.m.Events += int64(a.Events)
	b.m.Links += int64(a.Added)
	class := 0
	if before.Sealing {
		class = 1
	}
	if before.Compacting {
		class += 2
	}
	b.taken[class] = append(b.taken[class], took)
	return took, err
}

// run applies all events, with a paced phase during a late compaction, and one at the end.
func (b *bench) run(ctx context.Context) error {
	written := bytesWritten()
	var slice, cpu = time.Duration(0), cpuTime()
	tenth := max(b.g.Batches/10, 1)
	for i := range b.g.Batches {
		took, err := b.apply(b.o.Batch)
		if err != nil {
			return err
		}
		b.m.Applied.Took += took
		slice += took
		if (i+1)%tenth == 0 {
			a := &b.m.Applied
			now := cpuTime()
			a.Slices = append(a.Slices, float64(tenth*b.o.Batch)/slice.Seconds())
			a.CPU = append(a.CPU, float64((now-cpu).Microseconds())/float64(tenth*b.o.Batch))
			fmt.Fprintf(os.Stderr, "%d %%: %.0f events/s, %.1f µs of CPU each, load %s\n", (i+1)*10/tenth,
				a.Slices[len(a.Slices)-1], a.CPU[len(a.CPU)-1], loadAverage())
			slice = 0
			cpu = now
		}
		if !b.phased && i > b.g.Batches*7/10 && b.s.Work().Compacting {
			paced := cpuTime()
			b.m.AtCompaction, err = b.pace(ctx)
			if err != nil {
				return err
			}
			b.phased = true
			cpu = cpu + cpuTime() - paced
		}
	}
	start := time.Now()
	b.settle()
	b.m.Applied.Settle = time.Since(start)
	b.m.WAL = b.s.WALBytes()
	b.m.Work = b.s.Work()
	b.m.Written = bytesWritten() - written
	// Links and bytes written are those of this part alone; the phase at the end measures latency.
	events := b.m.Events
	links := b.m.Links
	b.m.PeakRSS = max(b.m.PeakRSS, peakRSS())
	c := &b.m.Commits
	c.Idle = quantilesOf(b.taken[0])
	c.Seal = quantilesOf(b.taken[1])
	c.Compaction = quantilesOf(b.taken[2])
	c.Both = quantilesOf(b.taken[3])
	st, err := b.s.Stats(ctx)
	if err != nil {
		return err
	}
	b.m.Live = st.Links
	b.m.Memory = st.Memory
	b.m.Load = loadAverage()
	b.m.Heap = heapInUse()
	b.m.AtEnd, err = b.pace(ctx)
	if err != nil {
		return err
	}
	if len(b.rest) > 0 { // the kills begin with a batch
		if _, err := b.apply(b.o.Batch); err != nil {
			return err
		}
	}
	b.settle()
	b.m.Events = events
	b.m.Links = links
	b.m.Disk, err = diskOf(filepath.Join(b.o.Dir, "weft"))
	return err
}

// settle waits until no seal and no compaction is in progress.
func (b *bench) settle() {
	for quiet := 0; quiet < 5; quiet++ {
		if w := b.s.Work(); w.Sealing || w.Compacting {
			quiet = 0
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ingestChild fills a store and measures it.
func ingestChild(ctx context.Context, o options) (any, error) {
	var g generated
	if err := readJSON(o.Dir, generatedFile, &g); err != nil {
		return nil, err
	}
	b, err := openBench(o, g, nil)
	if err != nil {
		return nil, err
	}
	if o.Profile != "" {
		f, err := os.Create(o.Profile + ".cpu")
		if err != nil {
			return nil, err
		}
		runtime.SetMutexProfileFraction(0)
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
	}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	if o.Profile != "" {
		pprof.StopCPUProfile()
		f, err := os.Create(o.Profile + ".mem")
		if err != nil {
			return nil, err
		}
		if err := pprof.Lookup("allocs").WriteTo(f, 0); err != nil {
			return nil, err
		}
	}
	b.r.close()
	return b.m, b.s.Close()
}
