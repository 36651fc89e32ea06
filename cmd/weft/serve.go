package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

const serveDescription = `
Follows a Jetstream server, keeps the index in the data directory and answers over HTTP. Without flags it follows the
public server from now on. A restart resumes at the last commit. Servers that speak only v1 work too, without an
archive and without resyncs.

With --replicate litestream.yml, or a litestream.yml in the data directory, it replicates everything to a bucket,
another directory or another host. weft restore and stock Litestream can restore that replica. If the data directory
is empty and a replica exists, it restores the replica first.

On SIGINT or SIGTERM it reports not ready, stops reading, commits the events that it has read, checkpoints, uploads the
rest to the replica and closes. A second signal ends it at once; committed data is safe.

Exit code: 0 clean shutdown, 1 failed, 2 wrong usage, 3 clean shutdown with an incomplete replica: the next start on
this disk uploads the rest.`

// defaultJetstream is the public server of Bluesky in the eastern United States, which speaks v2.
const defaultJetstream = "jetstream.us-east.bsky.network"

func serveCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "serve",
		Usage:       "follow a Jetstream server and answer queries",
		Description: serveDescription,
		Flags: slices.Concat(ingestFlags(), storeFlags(), memoryFlags(), replicateFlags(), followFlags(), sliceFlags(),
			bodiesFlags(db.BodiesOff), listenFlags("info"), clientFlags()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			err := noArgs(cmd)
			if err != nil {
				return err
			}
			config, err := daemonConfigOf(cmd, stderr)
			if err != nil {
				return err
			}
			err = limitMemory(cmd)
			if err != nil {
				return err
			}
			if cmd.String("follow") != "" {
				f, err := followerOf(cmd)
				if err != nil {
					return err
				}
				config.ready = func(d *daemon, _ *group) {
					fmt.Fprintf(stdout, "weft serves on %s and follows the replica %s\n", listenURL(d.queries),
						f.config.Replica.Where())
				}
				logMemory(config.logger, f.config.CacheBytes)
				return serve(ctx, config, f)
			}
			upstreams, err := upstreamsOf(cmd.StringSlice("jetstream"))
			if err != nil {
				return err
			}
			w, err := writerOf(cmd, upstreams)
			if err != nil {
				return err
			}
			w.progress = stderr
			warnOfGroups(config.logger, w.slice)
			config.ready = func(d *daemon, _ *group) {
				fmt.Fprintf(stdout, "weft serves on %s and follows %s\n", listenURL(d.queries), urlsOf(upstreams))
			}
			logMemory(config.logger, w.db.CacheBytes)
			return serve(ctx, config, w)
		},
	}
}

// serve runs a daemon until ctx ends.
func serve(ctx context.Context, c daemonConfig, x indexer) error {
	d, err := newDaemon(c, x)
	if err != nil {
		return err
	}
	return errors.Join(d.run(ctx), d.close())
}

// ingestFlags are serve's flags about its upstreams.
func ingestFlags() []cli.Flag {
	return variables("WEFT_",
		&cli.StringSliceFlag{
			Name: "jetstream", Value: []string{defaultJetstream},
			Usage: "Jetstream server to follow: a host name or a `URL` such as wss://USER:PASSWORD@HOST/subscribe; several, " +
				"in order of preference, for failover",
		},
		&cli.StringFlag{
			Name:  "jetstream-key",
			Usage: "API `KEY` of the server's archive; --from start needs it if the archive is protected",
		},
		&cli.StringFlag{
			Name: "from", Value: "now",
			Usage: "where a new index begins: now, start (of the archive), a sequence number or a time such as " +
				"2026-07-01T00:00:00Z; an existing index resumes",
		},
		&cli.BoolFlag{
			Name:  "yes",
			Usage: "start a backfill of more than 1 GiB; without it, weft prints the plan and exits",
		},
	)
}

// storeFlags are serve's flags about its data directory.
func storeFlags() []cli.Flag {
	return variables("WEFT_",
		dataFlag(),
		&cli.StringFlag{
			Name: "checkpoint", Value: checkpoint.Default().String(),
			Usage: "when to checkpoint the WAL: a `RULE` such as '5m | 20000 frames' (frames, MB, MiB or time; | or, & and, " +
				"parentheses); 'off' if another process does it; with --replicate, when to warn of a growing WAL",
		},
		&cli.StringFlag{
			Name: "replay-window", Value: "24h",
			Usage: "how long the log keeps a row, and so how far back the cursor of a stream reaches: a `TIME` such as 24h, " +
				"measured by the times of events; all: the whole log, from which weft.db alone can rebuild the index",
		},
		&cli.StringFlag{
			Name: "disk",
			Usage: "disk space that all files of the data directory may take, a `SIZE` such as 17GiB, or 90% of the file " +
				"system; the oldest links of --keep rules with fit go before they take more, and where none may go, indexing " +
				"pauses; default: the disk",
		},
		&cli.StringFlag{
			Name: "keep",
			Usage: "how long links are kept, by their own time: `RULES` such as 'app.bsky.graph.*=forever, " +
				"app.bsky.feed.like=90d, *=fit'; fit: as long as --disk allows; the most specific rule applies; default: " +
				"*=fit with --disk, else *=forever",
		},
	)
}

// memoryFlags are serve's flags about memory.
func memoryFlags() []cli.Flag {
	return variables("WEFT_",
		&cli.IntFlag{
			Name:  "cache",
			Usage: "block cache in MiB of memory; more makes queries of a large index faster; 0: a 32nd of --memory, 8 to 256",
		},
		memoryFlag(),
	)
}

// writerOf reads serve's flags of a writer.
func writerOf(cmd *cli.Command, upstreams []upstream.Address) (*writer, error) {
	from, err := ingest.ParseFrom(cmd.String("from"))
	if err != nil {
		return nil, &usageError{fmt.Errorf("--from: %w", err)}
	}
	store, err := storeConfigOf(cmd)
	if err != nil {
		return nil, err
	}
	slice, filter, err := sliceOf(cmd, upstreams)
	if err != nil {
		return nil, err
	}
	change, err := parseSliceChange(cmd.String("change-slice"))
	if err != nil {
		return nil, &usageError{fmt.Errorf("--change-slice: %w", err)}
	}
	replicate, err := replicationOf(cmd)
	if err != nil {
		return nil, err
	}
	if replicate != nil && cmd.Duration("verify-every") > 0 {
		store.Scratch = filepath.Join(store.Dir, "verify")
	}
	return &writer{writerConfig: writerConfig{
		jetstream: endpointsOf(upstreams), jetstreamKey: cmd.String("jetstream-key"), from: from, yes: cmd.Bool("yes"),
		db: store, checkpointSet: cmd.IsSet("checkpoint"),
		slice: slice, filter: filter, change: change, files: sliceFilesOf(cmd, upstreams),
		replica: replicate, replicaAlarm: cmd.Duration("replica-alarm"), verifyEvery: cmd.Duration("verify-every"),
	}}, nil
}

// storeConfigOf reads serve's flags about its data directory.
func storeConfigOf(cmd *cli.Command) (c db.Config, err error) {
	c.Dir = cmd.String("data")
	c.ReplayWindow, err = parseWindow(cmd.String("replay-window"))
	if err != nil {
		return c, err
	}
	c.Checkpoint, err = checkpoint.Parse(cmd.String("checkpoint"))
	if err != nil {
		return c, &usageError{fmt.Errorf("--checkpoint: %w", err)}
	}
	c.Keep, err = keep.Parse(cmd.String("keep"))
	if err != nil {
		return c, &usageError{fmt.Errorf("--keep (WEFT_KEEP): %w", err)}
	}
	c.Bodies, err = bodiesOf(cmd)
	if err != nil {
		return c, err
	}
	if text := cmd.String("disk"); text != "" {
		c.Budget, err = disk.ParseBudget(text)
		if err != nil {
			return c, &usageError{fmt.Errorf("--disk (WEFT_DISK): %w", err)}
		}
		c.Keep = c.Keep.WithBudget()
	}
	if c.Keep.Fits() && c.Budget == (disk.Budget{}) {
		return c, &usageError{errors.New("--keep: links of a rule with fit are kept as long as a budget of disk space " +
			"allows, and there is none: add --disk 90%, or write a time such as 90d")}
	}
	c.CacheBytes, err = cacheOf(cmd)
	return c, err
}

// parseWindow parses --replay-window; 0: the whole log.
func parseWindow(text string) (time.Duration, error) {
	if text == "all" {
		return 0, nil
	}
	window, err := time.ParseDuration(text)
	if err != nil || window < 0 {
		return 0, &usageError{fmt.Errorf("--replay-window (WEFT_REPLAY_WINDOW) must be all or a time such as 24h, not %q",
			text)}
	}
	return window, nil
}

// upstreamsOf reads --jetstream.
func upstreamsOf(hosts []string) ([]upstream.Address, error) {
	if len(hosts) == 0 {
		return nil, &usageError{errors.New("--jetstream needs at least one server")}
	}
	var out []upstream.Address
	for _, host := range hosts {
		u, err := upstream.ParseAddress(host)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--jetstream: %w", err)}
		}
		out = append(out, u)
	}
	return out, nil
}

func endpointsOf(upstreams []upstream.Address) []upstream.Endpoint {
	var out []upstream.Endpoint
	for _, u := range upstreams {
		out = append(out, u.Endpoint)
	}
	return out
}

// urlsOf lists upstreams without their passwords.
func urlsOf(upstreams []upstream.Address) string {
	var urls []string
	for _, u := range upstreams {
		urls = append(urls, u.URL)
	}
	return strings.Join(urls, ", ")
}
