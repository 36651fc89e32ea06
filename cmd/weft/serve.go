package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// defaultJetstream is the public server of Bluesky in the eastern United States, which speaks v2.
const defaultJetstream = "jetstream.us-east.bsky.network"

func serveCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "follow a Jetstream server and answer queries",
		Description: "Follows a Jetstream server, keeps the index in the data directory and answers over HTTP. Without flags it follows the\n" +
			"public server from now on. A restart resumes at the last commit. Servers that speak only v1 work too, without an\n" +
			"archive and without resyncs.\n\n" +
			"With --replicate litestream.yml, or a litestream.yml in the data directory, it replicates everything to a bucket,\n" +
			"another directory or another host. weft restore and stock Litestream can restore that replica. If the data directory\n" +
			"is empty and a replica exists, it restores the replica first.\n\n" +
			"On SIGINT or SIGTERM it reports not ready, stops reading, commits the events that it has read, checkpoints, uploads the\n" +
			"rest to the replica and closes. A second signal ends it at once; committed data is safe.\n\n" +
			"Exit code: 0 clean shutdown, 1 failed, 2 wrong usage, 3 clean shutdown with an incomplete replica: the next start on\n" +
			"this disk uploads the rest.",
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{
				Name: "jetstream", Sources: cli.EnvVars("WEFT_JETSTREAM"), Value: []string{defaultJetstream},
				Usage: "Jetstream server to follow: a host name or a `URL` such as wss://USER:PASSWORD@HOST/subscribe; several, in order of preference, for failover",
			},
			&cli.StringFlag{
				Name: "jetstream-key", Sources: cli.EnvVars("WEFT_JETSTREAM_KEY"),
				Usage: "API `KEY` of the server's archive; --from start needs it if the archive is protected",
			},
			&cli.StringFlag{
				Name: "from", Sources: cli.EnvVars("WEFT_FROM"), Value: "now",
				Usage: "where a new index begins: now, start (of the archive), a sequence number or a time such as 2026-07-01T00:00:00Z; an existing index resumes",
			},
			&cli.StringFlag{
				Name: "data", Sources: cli.EnvVars("WEFT_DATA"), Value: "./weft-data",
				Usage: "the data `DIRECTORY`",
			},
			&cli.StringFlag{
				Name: "checkpoint", Sources: cli.EnvVars("WEFT_CHECKPOINT"), Value: checkpoint.Default().String(),
				Usage: "when to checkpoint the WAL: a `RULE` such as '5m | 20000 frames' (frames, MB, MiB or time; | or, & and, parentheses); 'off' if another process does it; with --replicate, when to warn of a growing WAL",
			},
			&cli.DurationFlag{
				Name: "replay-window", Sources: cli.EnvVars("WEFT_REPLAY_WINDOW"),
				Usage: "retention of log rows that are in segments, e.g. 1h; 0: forever, and weft.db alone can rebuild the index",
			},
			&cli.IntFlag{
				Name: "cache", Sources: cli.EnvVars("WEFT_CACHE"), Value: db.DefaultCacheBytes >> 20,
				Usage: "block cache in MiB of memory; more makes queries of a large index faster",
			},
			&cli.BoolFlag{
				Name: "resolve-handles", Sources: cli.EnvVars("WEFT_RESOLVE_HANDLES"), Value: true,
				Usage: "resolve handles in queries such as at://alice.example/… and show them on pages, by DNS, HTTPS and plc.directory; =false turns it off",
			},
			&cli.BoolFlag{
				Name: "yes", Sources: cli.EnvVars("WEFT_YES"),
				Usage: "start a backfill of more than 1 GiB; without it, weft prints the plan and exits",
			},
		}, slices.Concat(replicateFlags(), followFlags(), sliceFlags(), commonFlags())...),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArgs(cmd); err != nil {
				return err
			}
			if err := checkAddresses(cmd); err != nil {
				return err
			}
			if cmd.String("follow") != "" {
				return serveFollow(ctx, cmd, stdout, stderr)
			}
			from, err := ingest.ParseFrom(cmd.String("from"))
			if err != nil {
				return &usageError{"serve", fmt.Errorf("--from: %w", err)}
			}
			if cmd.Duration("replay-window") < 0 {
				return &usageError{"serve", fmt.Errorf("--replay-window must be 0 or a duration such as 1h")}
			}
			checkpoint, err := checkpoint.Parse(cmd.String("checkpoint"))
			if err != nil {
				return &usageError{"serve", fmt.Errorf("--checkpoint: %w", err)}
			}
			hosts := cmd.StringSlice("jetstream")
			upstreams, err := upstreamsOf(hosts)
			if err != nil {
				return err
			}
			slice, keeps, err := sliceOf(cmd, upstreams)
			if err != nil {
				return err
			}
			change, err := parseSliceChange(cmd.String("change-slice"))
			if err != nil {
				return &usageError{"serve", fmt.Errorf("--change-slice: %w", err)}
			}
			bodies, err := bodiesOf(cmd)
			if err != nil {
				return err
			}
			cache, err := cacheOf(cmd)
			if err != nil {
				return err
			}
			replicate, err := replicationOf(cmd)
			if err != nil {
				return err
			}
			logger, err := newLogger(cmd, stderr)
			if err != nil {
				return err
			}
			warnOfGroups(logger, slice)
			return (&service{
				jetstream:  hosts,
				key:        cmd.String("jetstream-key"),
				from:       from,
				data:       cmd.String("data"),
				checkpoint: checkpoint,
				ruleGiven:  cmd.IsSet("checkpoint"),
				replica:    replicate,

				replicaAlarm: cmd.Duration("replica-alarm"),
				verifyEvery:  cmd.Duration("verify-every"),

				window:  cmd.Duration("replay-window"),
				bodies:  bodies,
				cache:   cache,
				slice:   slice,
				keeps:   keeps,
				change:  change,
				yes:     cmd.Bool("yes"),
				stderr:  stderr,
				listen:  cmd.String("listen"),
				metrics: cmd.String("metrics-listen"),
				didWeb:  cmd.String("did-web"),

				addressHeader: cmd.String("address-header"),
				perAddress:    cmd.Int("subscribers"),
				rate:          cmd.Int("rate-limit"),
				accessLog:     cmd.Bool("access-log"),
				handles:       cmd.Bool("resolve-handles"),

				logger: logger,
				up: func(url string) {
					fmt.Fprintf(stdout, "weft serves on %s and follows %s\n", url, urlsOf(upstreams))
				},
			}).run(ctx)
		},
	}
}

// upstreamsOf reads --jetstream.
func upstreamsOf(hosts []string) ([]upstream.Address, error) {
	if len(hosts) == 0 {
		return nil, &usageError{"serve", errors.New("--jetstream needs at least one server")}
	}
	var out []upstream.Address
	for _, host := range hosts {
		u, err := upstream.ParseAddress(host)
		if err != nil {
			return nil, &usageError{"serve", fmt.Errorf("--jetstream: %w", err)}
		}
		out = append(out, u)
	}
	return out, nil
}

// urlsOf lists upstreams without their passwords.
func urlsOf(upstreams []upstream.Address) string {
	var urls []string
	for _, u := range upstreams {
		urls = append(urls, u.URL)
	}
	return strings.Join(urls, ", ")
}

// commonFlags are the flags of every command that serves.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "bodies", Sources: cli.EnvVars("WEFT_BODIES"), Value: db.BodiesOff.String(),
			Usage: "store the content of records with links: off; window: as long as the log; keep: as long as the record",
		},
		&cli.StringFlag{
			Name: "listen", Sources: cli.EnvVars("WEFT_LISTEN"), Value: "127.0.0.1:7780",
			Usage: "listen `ADDRESS` for queries; port 0: a free port",
		},
		&cli.StringFlag{
			Name: "metrics-listen", Sources: cli.EnvVars("WEFT_METRICS_LISTEN"),
			Usage: "listen `ADDRESS` for Prometheus metrics at /metrics, e.g. 127.0.0.1:7781; default: none",
		},
		&cli.StringFlag{
			Name: "did-web", Sources: cli.EnvVars("WEFT_DID_WEB"),
			Usage: "public `DOMAIN` of this service; serves /.well-known/did.json for did:web:DOMAIN",
		},
		&cli.StringFlag{
			Name: "address-header", Sources: cli.EnvVars("WEFT_ADDRESS_HEADER"),
			Usage: "client-IP `HEADER` set by your reverse proxy, e.g. X-Forwarded-For (last value is used); default: the address of the connection",
		},
		&cli.IntFlag{
			Name: "rate-limit", Sources: cli.EnvVars("WEFT_RATE_LIMIT"),
			Usage: "rate limit: requests per minute and client IP (0: no limit)",
		},
		&cli.BoolFlag{
			Name: "access-log", Sources: cli.EnvVars("WEFT_ACCESS_LOG"),
			Usage: "log each request",
		},
		&cli.IntFlag{
			Name: "subscribers", Sources: cli.EnvVars("WEFT_SUBSCRIBERS"), Value: 50,
			Usage: "maximum live streams (/subscribe, /events) per client IP",
		},
		&cli.StringFlag{
			Name: "log-level", Sources: cli.EnvVars("WEFT_LOG_LEVEL"), Value: "info",
			Usage: "debug, info, warn or error",
		},
		&cli.StringFlag{
			Name: "log-format", Sources: cli.EnvVars("WEFT_LOG_FORMAT"), Value: "text",
			Usage: "text or json",
		},
	}
}

func bodiesOf(cmd *cli.Command) (db.Bodies, error) {
	bodies, err := db.ParseBodies(cmd.String("bodies"))
	if err != nil {
		return bodies, &usageError{cmd.Name, fmt.Errorf("--bodies: %w", err)}
	}
	return bodies, nil
}

// cacheOf is the size of the cache, in bytes.
func cacheOf(cmd *cli.Command) (int64, error) {
	mib := cmd.Int("cache")
	if mib < 1 || mib > 1<<20 {
		return 0, &usageError{cmd.Name, fmt.Errorf("--cache must be 1 MiB or more, not %d", mib)}
	}
	return int64(mib) << 20, nil
}

// checkAddresses refuses addresses that can't be listened on anywhere.
func checkAddresses(cmd *cli.Command) error {
	for _, flag := range []string{"listen", "metrics-listen"} {
		address := cmd.String(flag)
		if _, _, err := net.SplitHostPort(address); err != nil && (address != "" || flag == "listen") {
			return &usageError{cmd.Name, fmt.Errorf("--%s must be a host and a port such as 127.0.0.1:7780: %w", flag, err)}
		}
	}
	return nil
}

func noArgs(cmd *cli.Command) error {
	if arg := cmd.Args().First(); arg != "" {
		return &usageError{cmd.Name, fmt.Errorf("%s takes no argument, but got %q", cmd.Name, arg)}
	}
	return nil
}

func newLogger(cmd *cli.Command, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmd.String("log-level"))); err != nil {
		return nil, &usageError{cmd.Name, fmt.Errorf("--log-level must be debug, info, warn or error, not %q", cmd.String("log-level"))}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch cmd.String("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, &usageError{cmd.Name, fmt.Errorf("--log-format must be text or json, not %q", cmd.String("log-format"))}
}
