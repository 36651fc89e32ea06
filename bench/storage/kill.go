package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"weft.dev/weft/db"
)

const (
	// killEvents is the most events of the kills: some before the first, and a whole seal with the events during it for
	// the second.
	killEvents = 1_000_000
	// someEvents is the number of events before the first kill.
	someEvents = 50_000
)

// opened is the measurements of the start after a kill.
type opened struct {
	When    string        `json:"when"`
	Took    time.Duration `json:"took_ns"` // db.Open
	CPU     time.Duration `json:"cpu_ns"`  // processor time of it
	Rows    int64         `json:"rows"`    // log rows outside segments
	Links   int64         `json:"links"`
	PeakRSS int64         `json:"peak_rss"`
}

// The moments of the kills: a common one, and the worst: a seal is complete but not in the manifest, so that all its
// rows and all later ones are only in the log.
const (
	killSome  = "50,000 events after a pause"
	killWorst = "as a seal ends, before it is entered"
)

// victimChild resumes at a batch, reports its moment, and waits for the kill.
func victimChild(_ context.Context, o options) (any, error) {
	var g generated
	if err := readJSON(o.Dir, generatedFile, &g); err != nil {
		return nil, err
	}
	var once sync.Once
	now := func() { once.Do(func() { fmt.Println("now") }); select {} }
	b, err := openBench(o, g, func(step string) error {
		if o.When == killWorst && step == "dir-synced" {
			now()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := b.r.skip(o.Skip); err != nil {
		return nil, err
	}
	for i := o.Skip; i < g.AllBatches; i++ {
		if _, err := b.apply(o.Batch); err != nil {
			return nil, err
		}
		fmt.Println("at", i+1)
		if o.When == killSome && (i+1-o.Skip)*o.Batch >= someEvents {
			now()
		}
	}
	return nil, errors.New("no events are left before the moment of the kill")
}

// kill lets a victim resume at a batch, kills it at its moment, and returns the batch to resume at.
func kill(ctx context.Context, o options) (skip int, err error) {
	cmd, err := childCommand(ctx, "victim", o)
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	skip = o.Skip
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if sc.Text() == "now" {
			err := cmd.Process.Kill()
			_ = cmd.Wait()
			return skip, err
		}
		_, _ = fmt.Sscanf(sc.Text(), "at %d", &skip)
	}
	return 0, errors.Join(fmt.Errorf("the child to kill (%s) ended by itself", o.When), cmd.Wait())
}

// openChild times a start.
func openChild(ctx context.Context, o options) (any, error) {
	dir := filepath.Join(o.Dir, "weft")
	start := time.Now()
	cpu := cpuTime()
	s, err := db.Open(db.Config{Dir: dir, ReplayWindow: o.Window, Bodies: o.Bodies,
		Now: func() time.Time { return time.UnixMicro(firstEventUS) }})
	if err != nil {
		return nil, err
	}
	out := opened{When: o.When, Took: time.Since(start), CPU: cpuTime() - cpu, PeakRSS: peakRSS()}
	st, err := s.Stats(ctx)
	if err == nil {
		out.Links = st.Links
		out.Rows, err = unsealedRows(dir)
	}
	return out, errors.Join(err, s.Close())
}
