// Command upstream measures what it costs to follow an upstream: a replay of an archive, end to end, and the live
// stream at a rate, with the simulated server in a process of its own.
//
//	go run ./bench/upstream                             2 million events of archive, then 1,000 a second for 20 s
//	go run ./bench/upstream --events 20000000 --segment 4000000
//	go run ./bench/upstream --subjects 1000             only links to a thousand accounts and their records
//
// The server makes and serves its archive on the same machine: of two cores, the replay has what the server leaves it.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/memlimit"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/upstream"
)

var (
	events   = flag.Int("events", 2_000_000, "events of the archive")
	segment  = flag.Int("segment", 1_000_000, "events in a segment; real ones hold some 4 million in 279 MB")
	rate     = flag.Float64("rate", 1000, "live events a second")
	live     = flag.Duration("live", 20*time.Second, "how long the live stream is followed")
	subjects = flag.Int("subjects", 0, "index only the links to so many accounts of the network, and to their records; "+
		"0: all links")
	accounts = flag.Int("accounts", 0, "accounts of the network; 0: one for every 20 events")
	serve    = flag.Bool("serve", false, "be the server")
)

func main() {
	flag.Parse()
	do := measure
	if *serve {
		do = runServer
	}
	common.Main("upstream", do)
}

// network returns the configuration of the network.
func network() sim.NetworkConfig {
	return sim.NetworkConfig{Accounts: cmp.Or(*accounts, max(*events/20, 1000))}
}

// slice returns the slice to index. Its subjects are the first accounts with an event: accounts of all sizes, mostly
// active ones.
func slice() (*ingest.Slice, error) {
	if *subjects == 0 {
		return nil, nil
	}
	list := map[string]struct{}{}
	n := sim.NewNetwork(network())
	for range *events {
		if len(list) == *subjects {
			break
		}
		list[strings.Clone(n.Next().DID)] = struct{}{}
	}
	return ingest.NewSlice(ingest.SliceConfig{Subjects: slices.Collect(maps.Keys(list))})
}

// runServer serves until its standard input ends; a line on it begins the live events.
func runServer(ctx context.Context) error {
	s, err := sim.NewServer(sim.ServerConfig{Backlog: *events, EventsPerSegment: *segment, Lookback: 100_000,
		WallClock:     true,
		NetworkConfig: network()})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fmt.Println(s.URL(), s.Tip())
	lines := bufio.NewScanner(os.Stdin)
	go func() {
		defer cancel()
		if !lines.Scan() {
			return
		}
		go func() {
			const tick = 10 * time.Millisecond
			sent := 0
			begun := time.Now()
			for ticker := time.NewTicker(tick); ; {
				select {
				case <-ticker.C:
					n := int(time.Since(begun).Seconds()**rate) - sent
					s.Emit(n)
					sent += n
				case <-ctx.Done():
					return
				}
			}
		}()
		for lines.Scan() {
		}
	}()
	return s.Run(ctx)
}

func measure(ctx context.Context) error {
	memlimit.PaceGC() // as weft serve: its memory depends on it
	server, err := common.Self(ctx, append([]string{"-serve"}, os.Args[1:]...)...)
	if err != nil {
		return err
	}
	in, err := server.StdinPipe()
	if err != nil {
		return err
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		_ = in.Close()
		_ = server.Wait()
	}()
	var url string
	var tip uint64
	if _, err := fmt.Fscan(out, &url, &tip); err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	dir, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := db.Open(db.Config{Dir: dir, ReplayWindow: time.Hour})
	if err != nil {
		return err
	}
	defer store.Close()
	timed := &timedStore{Store: store}
	slice, err := slice()
	if err != nil {
		return err
	}
	follower := ingest.New(ingest.Config{Hosts: []upstream.Endpoint{{URL: url}}, Store: timed,
		From: ingest.From{Start: true}, Slice: slice, Metrics: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	before := usage()
	begun := time.Now()
	go func() { done <- follower.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for store.Cursor(url) < tip {
		select {
		case <-time.After(20 * time.Millisecond):
		case err := <-done:
			return errors.Join(errors.New("it has ended"), err)
		}
	}
	took := time.Since(begun)
	used := usage() - before
	st, err := store.Stats(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("replay       %d events, %d links, %d segments of ours, in %s: %.0f events/s; %.1f µs of CPU an event; "+
		"peak memory %d MB (on %d cores)\n",
		*events, st.Links, st.Segments, took.Round(time.Millisecond), float64(*events)/took.Seconds(),
		used.Seconds()*1e6/float64(*events),
		peakMB(), runtime.NumCPU())

	time.Sleep(2 * time.Second) // the end of seals and compactions
	size, err := dirBytes(dir)
	if err != nil {
		return err
	}
	fmt.Printf("disk         %.1f MB, %.1f bytes an event, %.0f a link\n", float64(size)/1e6,
		float64(size)/float64(*events),
		float64(size)/float64(max(st.Links, 1)))
	timed.measure()
	if _, err := fmt.Fprintln(in); err != nil {
		return err
	}
	time.Sleep(time.Second)
	before = usage()
	begun = time.Now()
	first := store.Cursor(url)
	select {
	case <-time.After(*live):
	case err := <-done:
		return errors.Join(errors.New("it has ended"), err)
	}
	took = time.Since(begun)
	used = usage() - before
	came := store.Cursor(url) - first
	late := timed.late()
	if len(late) == 0 {
		return errors.New("no live event came")
	}
	at := func(q float64) time.Duration { return late[int(q*float64(len(late)-1))].Round(time.Millisecond) }
	fmt.Printf("live         %d events in %s: %.0f/s; %.1f %% of a core; from the event to its visibility %s median, %s "+
		"p99, %s at most\n",
		came, took.Round(time.Millisecond), float64(came)/took.Seconds(), 100*used.Seconds()/took.Seconds(), at(0.5),
		at(0.99), at(1))
	return nil
}

// timedStore measures the time from each event's time to its visibility.
type timedStore struct {
	*db.Store
	mu   sync.Mutex
	on   bool
	took []time.Duration
}

func (s *timedStore) measure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = true
}

func (s *timedStore) Apply(b db.Batch) (apply.Counts, error) {
	a, err := s.Store.Apply(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now().UnixMicro(); s.on {
		for i := range b.Events {
			s.took = append(s.took, time.Duration(now-b.Events[i].TimeUS)*time.Microsecond)
		}
	}
	return a, err
}

func (s *timedStore) late() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.took))
}

// dirBytes returns the total size of the files in a directory.
func dirBytes(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // a compaction has removed it
			return nil
		}
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// usage returns the processor time of this process.
func usage() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// peakMB returns the peak memory of this process in MB; 0 if /proc lacks it.
func peakMB() int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb * 1024 / 1_000_000
		}
	}
	return 0
}
