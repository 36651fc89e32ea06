package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// source generates events of a synthetic network.
type source struct {
	network *sim.Network
	reader  truth.Reader
}

func (s *source) batch(n int) (batch []apply.Event, err error) {
	for len(batch) < n {
		e, ok, err := s.reader.Event(s.network.Next())
		if err != nil {
			return nil, err
		}
		if ok {
			batch = append(batch, e)
		}
	}
	return batch, nil
}

// childMain runs a part in its own process. At a pace that ends with a kill, it prints each commit's newest log row.
func childMain(ctx context.Context, text string) (err error) {
	var p part
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	cfg := db.Config{Dir: p.Dir}
	var rep *replica.Replicator
	if p.Replica != nil {
		rep = replica.New(replica.ReplicatorConfig{Replica: *p.Replica, Dir: p.Dir})
		if err := rep.Prepare(ctx); err != nil {
			return err
		}
		cfg.Replicator = true
		cfg.Lock = rep.DirLock()
		cfg.OnSegment = rep.OnSegment
		cfg.Checkpoint, err = checkpoint.Parse("100000 frames")
		if err != nil {
			return err
		}
	}
	s, err := db.Open(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1)
	if rep != nil {
		if err := rep.Open(ctx, s); err != nil {
			return err
		}
		go func() { ran <- rep.Run(ctx) }()
	} else {
		ran <- nil
	}
	var r result
	events := &source{network: sim.NewNetwork(sim.NetworkConfig{Accounts: int(max(p.Links/20, 20_000))})}
	if cursor := s.Cursor("bench"); cursor > 0 { // after a kill: resume there
		for {
			e := events.network.Next()
			if e.Seq >= cursor {
				break
			}
		}
	}
	for r.Links < p.Links {
		batch, err := events.batch(1000)
		if err != nil {
			return err
		}
		began := time.Now()
		a, err := s.Apply(db.Batch{Host: "bench", Events: batch})
		if err != nil {
			return err
		}
		r.Took += time.Since(began)
		r.Events += int64(a.Events)
		r.Links += int64(a.Added)
	}
	if err := p.paced(s, rep, events, &r); err != nil {
		return err
	}
	began := time.Now()
	if rep != nil {
		for w := s.Work(); w.Sealing || w.Compacting; w = s.Work() {
			time.Sleep(10 * time.Millisecond)
		}
	}
	cancel()
	err = <-ran
	if rep != nil {
		flush, done := context.WithTimeout(context.Background(), time.Minute)
		defer done()
		err = errors.Join(err, rep.Flush(flush))
		rep.Release()
		r.Sent = rep.Status().UploadedBytes
		if p.Replica.Type == "file" {
			r.Segments = sizeOf(filepath.Join(p.Replica.Path, "segments"))
		}
	}
	r.Flush = time.Since(began)
	err = errors.Join(err, s.Close())
	if rep != nil {
		err = errors.Join(err, rep.Close())
	}
	if err != nil {
		return err
	}
	r.PeakKiB = peak()
	return json.NewEncoder(os.Stdout).Encode(r)
}

// commitsPerSecond is the rate of commits of weft serve on a steady stream: one each 200 ms.
const commitsPerSecond = 5

// paced applies events at their times and measures each commit.
func (p part) paced(s *db.Store, rep *replica.Replicator, events *source, r *result) error {
	var took []time.Duration
	var lags []float64
	start := time.Now()
	for i := 0; time.Since(start) < p.Pace; i++ {
		batch, err := events.batch(p.Rate / commitsPerSecond)
		if err != nil {
			return err
		}
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / commitsPerSecond)))
		began := time.Now()
		a, err := s.Apply(db.Batch{Host: "bench", Events: batch})
		if err != nil {
			return err
		}
		took = append(took, time.Since(began))
		r.Took += time.Since(began)
		r.Events += int64(a.Events)
		r.Links += int64(a.Added)
		if p.Name == "kill" {
			fmt.Println(s.Seq())
		}
		if rep != nil {
			lags = append(lags, rep.Status().LagSeconds)
		}
	}
	if len(took) == 0 {
		return nil
	}
	slices.Sort(took)
	slices.Sort(lags)
	at := func(q float64) int { return min(int(q*float64(len(took))), len(took)-1) }
	r.P50 = took[at(0.5)]
	r.P99 = took[at(0.99)]
	r.Max = took[len(took)-1]
	if len(lags) > 0 {
		r.LagP50 = lags[at(0.5)]
		r.Lag99 = lags[at(0.99)]
	}
	return nil
}

// peak returns the peak resident set of this process in KiB; 0 without /proc.
func peak() (n int64) {
	text, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n
}
