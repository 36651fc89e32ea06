// Command replica measures the cost of replication in the process, and the loss of a kill.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

const description = `Simulated events, a thousand to a commit, flow into a store as fast as it takes them, without and
with a replica; then at a pace, five commits a second; then at that pace until the process is killed with SIGKILL,
again and again, and the newest log row that it had committed is held against the newest one in the replica. Every part
runs in a process of its own. Memory is the peak of its resident set, and is 0 where there is no /proc.

  go run ./bench/replica                        a replica in a temporary directory
  go run ./bench/replica --config s3.yml        one as the replica of this litestream.yml says; its path must be empty,
                                                and each part adds a path of its own

The disk's and the machine's load count: run it on one that does nothing else.`

// part is the work of one process.
type part struct {
	Name    string
	Dir     string         // the data directory
	Replica *config.Config // nil: none
	Links   int64          // links to add at full speed; 0: none
	Rate    int            // events a second after that
	Pace    time.Duration  // how long
}

// result is the result of a part. Bytes are uploaded bytes.
type result struct {
	Events, Links int64
	Took          time.Duration // of Apply alone
	P50, P99, Max time.Duration // of commits at the pace
	LagP50, Lag99 float64       // seconds behind, at the pace, sampled
	Sent          int64         // to the replica in total
	Segments      int64         // segments only
	Flush         time.Duration
	PeakKiB       int64
}

func main() { common.Main("replica", runCommand) }

func runCommand(ctx context.Context) error {
	if text := os.Getenv(partVariable); text != "" {
		return childMain(ctx, text)
	}
	var links int64
	var rate, kills int
	var pace time.Duration
	var file string
	cmd := &cli.Command{
		Name: "replica", Usage: "measure replication in the process", Description: description, HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.Int64Flag{Name: "links", Usage: "number of links to add at full speed", Value: 1_000_000, Destination: &links},
			&cli.IntFlag{Name: "rate", Usage: "the pace, in events a second", Value: 1000, Destination: &rate},
			&cli.DurationFlag{Name: "pace", Usage: "duration of the paced phase", Value: 2 * time.Minute,
				Destination: &pace},
			&cli.IntFlag{Name: "kills", Usage: "number of kills", Value: 20, Destination: &kills},
			&cli.StringFlag{Name: "config", Usage: "a litestream.yml (`FILE`) of the replica",
				Destination: &file},
		},
		Action: func(ctx context.Context, _ *cli.Command) error { return measure(ctx, links, rate, pace, kills, file) },
	}
	return cmd.Run(ctx, os.Args)
}

func measure(ctx context.Context, links int64, rate int, pace time.Duration, kills int, file string) error {
	work, err := os.MkdirTemp("", "weft-bench-replica-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	base := config.Config{Type: "file", Path: filepath.Join(work, "replica")}
	if file != "" {
		base, err = config.Read(file)
		if err != nil {
			return err
		}
	}
	to := func(name string) *config.Config {
		c := base
		c.Path = filepath.Join(base.Path, name)
		c.DB = filepath.Join(work, name, "weft.db")
		return &c
	}
	fmt.Printf("load %s\n", load())
	fmt.Printf("%-22s %9s %9s %9s %9s %9s %9s %9s %9s\n", "", "events/s", "B/link", "segments", "p50", "p99", "max",
		"behind", "RSS, MB")
	for _, p := range []part{
		{Name: "off", Links: links}, {Name: "on", Links: links, Replica: to("on")},
		{Name: "pace-off", Rate: rate, Pace: pace}, {Name: "pace-on", Rate: rate, Pace: pace, Replica: to("pace-on")},
	} {
		p.Dir = filepath.Join(work, p.Name)
		r, err := run(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		fmt.Printf("%-22s %9.0f %9.1f %9.1f %9s %9s %9s %9s %9.0f\n", p.Name, float64(r.Events)/max(r.Took.Seconds(), 1e-9),
			float64(r.Sent)/float64(max(r.Links, 1)),
			float64(r.Segments)/float64(max(r.Links, 1)), short(r.P50), short(r.P99), short(r.Max), fmt.Sprintf("%.1f/%.1f s",
				r.LagP50, r.Lag99), float64(r.PeakKiB)/1024)
		if err := os.RemoveAll(p.Dir); err != nil {
			return err
		}
	}
	return lose(ctx, part{Name: "kill", Dir: filepath.Join(work, "kill"), Rate: rate, Pace: time.Hour,
		Replica: to("kill")}, kills)
}

func short(d time.Duration) string { return d.Round(100 * time.Microsecond).String() }

const partVariable = "WEFT_BENCH_REPLICA"

// run runs a part to its end.
func run(ctx context.Context, p part) (r result, err error) {
	text, err := json.Marshal(p)
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), partVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(out, &r)
}

// lose kills a process at random moments, and reports the committed log rows that the replica lacks.
func lose(ctx context.Context, p part, kills int) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	var rows []int64
	for range kills {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), partVariable+"="+string(text))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		committed := make(chan uint64, 1)
		begun := make(chan struct{})
		go func() { // newest row, which the process prints after each commit
			var seq uint64
			for first := true; ; first = false {
				var n uint64
				if _, err := fmt.Fscanln(out, &n); err != nil {
					break
				}
				seq = n
				if first {
					close(begun)
				}
			}
			committed <- seq
		}()
		select {
		case <-begun:
		case <-ctx.Done():
			return ctx.Err()
		}
		time.Sleep(3*time.Second + rand.N(3*time.Second))
		_ = cmd.Process.Kill()
		seq := <-committed
		_ = cmd.Wait()
		plan, err := restore.MakePlan(ctx, *p.Replica, p.Dir, restore.Target{})
		if err != nil && !errors.Is(err, restore.ErrEmpty) {
			return err
		}
		there := uint64(0)
		if err == nil {
			there = plan.Manifest.LastSeq
		}
		rows = append(rows, int64(seq)-int64(min(there, seq)))
	}
	if len(rows) == 0 {
		return nil
	}
	slices.Sort(rows)
	at := func(q float64) int64 { return rows[min(int(q*float64(len(rows))), len(rows)-1)] }
	fmt.Printf("\nlost at a kill, of %d, at %d events/s: p50 %d log rows, p99 %d, most %d\n", len(rows), p.Rate, at(0.5),
		at(0.99), rows[len(rows)-1])
	return nil
}

// sizeOf returns the size of a directory in bytes.
func sizeOf(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return string(text[:min(len(text), 14)])
}
