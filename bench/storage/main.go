// Command storage measures weft's store at a size of your choice.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/db"
	"weft.dev/weft/ingest"
)

// options are the flags, and the parameters that the parts of a run pass to each other.
type options struct {
	Links    int64
	Accounts int64
	Batch    int // events in a commit
	Dir      string
	Window   time.Duration
	Pace     time.Duration
	Rate     int
	Profile  string
	Bodies   db.Bodies
	Cache    int64 // MiB; 0: the store's default

	Skip int    // batches applied before
	When string // the moment of a kill

	Again bool `json:"-"` // events of an earlier run exist
}

const description = `Simulated events flow into a store with its default configuration: first
as fast as it takes them, then at a pace while queries are asked, until the process is killed with SIGKILL
and started again. A tenth of all links goes to one target.

  go run ./bench/storage                                      a million links: a minute or two
  go run ./bench/storage --links 10000000 --json ten.json     ten million: about ten minutes, 3 GB of disk
  go run ./bench/storage --links 10000000 --accounts 5000000   the same with ten times the accounts
  go run ./bench/storage --bodies keep                        the same with the content of records
  go run ./bench/storage --links 100000000 --dir /data/bench  a hundred million: hours, 20 GB

Every part runs in a process of its own, one after the other; the generator writes its events to a file
before, so that neither its time nor its memory counts. The store's clock is that of the events, 400 in
a second, so that the log is pruned as on a network of that rate. Memory and bytes handed to the system
are read from /proc, and are 0 where there is none.

Run it on a machine that does nothing else; the load is printed with the figures.`

func main() {
	common.Main("storage", func(ctx context.Context) error { return run(ctx, os.Args, os.Stdout) })
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if role := os.Getenv(roleVariable); role != "" {
		return childMain(ctx, role)
	}
	var o options
	var file, bodies string
	cmd := &cli.Command{
		Name:            "storage",
		Usage:           "measure what a link costs: bytes written, bytes on disk, time, memory",
		Description:     description,
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.Int64Flag{Name: "links", Usage: "number of links to store", Value: 1_000_000, Destination: &o.Links},
			&cli.Int64Flag{Name: "accounts", Usage: "number of accounts of the network; 0: one for every 20 links, and at " +
				"least 1000", Destination: &o.Accounts},
			&cli.IntFlag{Name: "batch", Usage: "events in a commit", Value: ingest.DefaultBatchEvents, Destination: &o.Batch},
			&cli.StringFlag{Name: "dir", Usage: "an empty `DIRECTORY` to work in, which is kept (default: a temporary one, " +
				"which is not), or one with nothing but events and generated.json of a run with the same options before",
				Destination: &o.Dir},
			&cli.DurationFlag{Name: "window", Usage: "replay window of the log, in time of the events", Value: time.Hour,
				Destination: &o.Window},
			&cli.DurationFlag{Name: "pace", Usage: "duration of the paced phase with queries",
				Value: 25 * time.Second, Destination: &o.Pace},
			&cli.IntFlag{Name: "rate", Usage: "pace of that phase, in events per second", Value: 5000, Destination: &o.Rate},
			&cli.StringFlag{Name: "bodies", Usage: "mode of record content: off, window or keep",
				Value: db.BodiesOff.String(), Destination: &bodies},
			&cli.Int64Flag{Name: "cache", Usage: "the store's cache, in MiB; 0: its default",
				Destination: &o.Cache},
			&cli.StringFlag{Name: "profile", Usage: "write pprof profiles of the store to `PATH`.cpu and PATH.mem",
				Destination: &o.Profile},
			&cli.StringFlag{Name: "json", Usage: "write all figures to `FILE` as well; -: to standard output, in place of the " +
				"table", Destination: &file},
		},
		Action: func(ctx context.Context, _ *cli.Command) (err error) {
			o.Bodies, err = db.ParseBodies(bodies)
			if err != nil {
				return fmt.Errorf("--bodies: %w", err)
			}
			return measure(ctx, o, file, stdout)
		},
	}
	return cmd.Run(ctx, args)
}

// measure runs all parts and prints their measurements.
func measure(ctx context.Context, o options, file string, stdout io.Writer) (err error) {
	if o.Dir == "" {
		o.Dir, err = os.MkdirTemp("", "weft-bench-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	} else if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	o.Again = slices.Equal(names, []string{eventsFile, generatedFile})
	if !o.Again && len(names) > 0 {
		return fmt.Errorf("%s must be empty, or contain only %s and %s", o.Dir, eventsFile,
			generatedFile)
	}
	f, err := figuresOf(ctx, o)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if file == "-" {
		_, err = fmt.Fprintln(stdout, string(text))
		return err
	}
	if file != "" {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return f.print(stdout)
}

// figuresOf runs all parts.
func figuresOf(ctx context.Context, o options) (f figures, err error) {
	f.Options = o
	if o.Again {
		err = readJSON(o.Dir, generatedFile, &f.Generated)
	} else {
		err = child(ctx, "generate", o, &f.Generated)
	}
	if err != nil {
		return f, err
	}
	f.Generated.Sample = nil
	if err := child(ctx, "ingest", o, &f.Weft); err != nil {
		return f, err
	}
	o.Skip = f.Weft.Batches
	for _, o.When = range []string{killSome, killWorst} {
		o.Skip, err = kill(ctx, o)
		if err != nil {
			return f, err
		}
		var start opened
		if err := child(ctx, "open", o, &start); err != nil {
			return f, err
		}
		f.Starts = append(f.Starts, start)
	}
	return f, nil
}
