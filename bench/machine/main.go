// Command machine measures weft serve on an emulated machine: one core, 1 GiB of memory, and a volume of its own with a
// limited transfer rate. It needs Linux, root and control groups.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/ingest/sim"
)

const description = `weft serve runs on one core, with 1 GiB of memory and a volume of its own, as fly.toml starts it:
with a replica, --disk 90% and its rules of retention. A simulated server, which has the other cores, first serves an
archive, whose events end now, and then live events. Questions are asked meanwhile.

  go run ./bench/machine                           an hour of events at 1,000 a second, then a minute live
  go run ./bench/machine --events 86400000         a day of events
  go run ./bench/machine --events 0 --rate 400 --live 5m --s3

The volume is a file of the host's file system. Its limit holds for what the process itself writes or syncs.`

// options are the flags.
type options struct {
	Events, Accounts int
	Rate             float64
	Asks             int // a second
	Live             time.Duration
	Volume           int // GB
	S3, Alone        bool
	Compact          bool
	Rest             time.Duration
	Dir              string
}

func main() { common.Main("machine", runCommand) }

func runCommand(ctx context.Context) error {
	var o options
	cmd := &cli.Command{
		Name: "machine", Usage: "measure weft on an emulated machine", Description: description, HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "events", Usage: "events of the archive", Value: 3_600_000, Destination: &o.Events},
			&cli.IntFlag{Name: "accounts", Usage: "accounts of the network", Value: 500_000, Destination: &o.Accounts},
			&cli.FloatFlag{Name: "rate", Usage: "events a second, in the archive and live", Value: 1000,
				Destination: &o.Rate},
			&cli.IntFlag{Name: "asks", Usage: "questions a second, half of them counts and half of them lists", Value: 20,
				Destination: &o.Asks},
			&cli.DurationFlag{Name: "live", Usage: "how long the live stream is followed", Value: time.Minute,
				Destination: &o.Live},
			&cli.IntFlag{Name: "volume", Usage: "size of the volume in GB", Value: 20, Destination: &o.Volume},
			&cli.BoolFlag{Name: "s3", Usage: "replicate to an S3 server in memory, in place of a directory: at most some " +
				"million events", Destination: &o.S3},
			&cli.BoolFlag{Name: "alone", Usage: "without a replica", Destination: &o.Alone},
			&cli.BoolFlag{Name: "compact", Usage: "compact all segments into one while the live stream is followed",
				Destination: &o.Compact},
			&cli.DurationFlag{Name: "rest", Usage: "how long nothing changes after the archive before the files are measured; " +
				"weft.db returns its last free pages within twenty minutes", Value: 30 * time.Second, Destination: &o.Rest},
			&cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the volume and of the replica; default: a temporary one",
				Destination: &o.Dir},
		},
		Action: func(ctx context.Context, _ *cli.Command) error { return measure(ctx, o) },
	}
	return cmd.Run(ctx, os.Args)
}

func measure(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.Dir, "weft-machine-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := common.Build(ctx, dir)
	if err != nil {
		return err
	}
	begun := time.Now()
	server, err := sim.NewServer(sim.ServerConfig{Backlog: o.Events, EventsPerSegment: 2_000_000, Lookback: 100_000,
		WallClock: true, NetworkConfig: sim.NetworkConfig{Accounts: o.Accounts, RatePerSec: o.Rate}})
	if err != nil {
		return err
	}
	defer server.Close()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	go func() { _ = server.Run(serving) }()
	fmt.Printf("archive      %d events in %s\n", o.Events, time.Since(begun).Round(time.Second))

	vol, err := newVolume(ctx, dir, o.Volume)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vol.close()) }()
	limits, err := newLimits(vol.device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, limits.remove()) }()
	config, asked, closeReplica, err := replicaConfig(dir, filepath.Join(vol.path, "data"), o.S3)
	if err != nil {
		return err
	}
	defer closeReplica()
	if o.Alone {
		config = "off"
	}
	w := &weft{binary: binary, data: filepath.Join(vol.path, "data"), config: config, upstream: server.URL(),
		limits: limits, asked: asked}
	err = w.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if o.Events > 0 {
		if err := measureReplay(ctx, w, o); err != nil {
			return err
		}
	}
	return measureLive(ctx, w, server, o)
}
