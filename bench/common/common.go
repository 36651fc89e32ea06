// Package common is the shared code of the programs that measure weft.
package common

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// Main runs a program. An interrupt ends its context, and an error the process with code 1.
func Main(name string, run func(ctx context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Build builds cmd/weft into a directory.
func Build(ctx context.Context, dir string) (weft string, err error) {
	weft = filepath.Join(dir, "weft")
	build := exec.CommandContext(ctx, "go", "build", "-o", weft, "./cmd/weft")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build weft, from the root of the project: %w", err)
	}
	return weft, nil
}

// Self returns a command that runs this program again, in a process of its own. Its standard error is ours.
func Self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// Run runs a program to its end and returns its peak resident set in KiB; 0 without /proc.
func Run(cmd *exec.Cmd) (peak int64, err error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan struct{})
	peaks := make(chan int64)
	go func() { peaks <- peakRSS(cmd.Process.Pid, done) }()
	err = cmd.Wait()
	close(done)
	return <-peaks, err
}

// Fill makes an index of simulated events, with one account for every 20 links.
func Fill(ctx context.Context, data string, links int64, bodies bool) error {
	cfg := db.Config{Dir: data}
	if bodies {
		cfg.Bodies = db.BodiesKeep
	}
	s, err := db.Open(cfg)
	if err != nil {
		return err
	}
	network := sim.NewNetwork(sim.NetworkConfig{Accounts: int(max(links/20, 1000))})
	reader := truth.Reader{}
	for added := int64(0); added < links && ctx.Err() == nil; {
		var batch []apply.Event
		for len(batch) < 1000 {
			e, ok, err := reader.Event(network.Next())
			if err != nil {
				return err
			}
			if ok {
				batch = append(batch, e)
			}
		}
		a, err := s.Apply(db.Batch{Host: "bench", Events: batch})
		if err != nil {
			return err
		}
		added += int64(a.Added)
	}
	return errors.Join(ctx.Err(), s.Close())
}

// peakRSS reads the peak resident set of a running process from /proc, in KiB; 0 without /proc. The figure that the
// system reports for an ended child starts at the parent's own.
func peakRSS(pid int, done <-chan struct{}) (peak int64) {
	for ticker := time.NewTicker(20 * time.Millisecond); ; {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
			var n int64
			if _, err := fmt.Sscan(rest, &n); err == nil {
				peak = max(peak, n)
			}
		}
		select {
		case <-ticker.C:
		case <-done:
			ticker.Stop()
			return peak
		}
	}
}
