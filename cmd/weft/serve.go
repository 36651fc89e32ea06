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
	"weft.dev/weft/ingest"
)

// defaultJetstream is the public server of Bluesky in the eastern United States, which speaks v2.
const defaultJetstream = "jetstream.us-east.bsky.network"

func serveCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "follow a Jetstream server and answer queries",
		Description: "Follows a Jetstream server, keeps the index in the data directory and answers over HTTP. Without flags it\n" +
			"follows the public server from now on. When it is started again it goes on where it was. Servers that speak\n" +
			"only v1 work too, without an archive and without resyncs.\n\n" +
			"With --replicate litestream.yml, or a litestream.yml in the data directory, it keeps a copy of everything in a bucket, in\n" +
			"another directory or on another host, which weft restore and stock Litestream restore. Where the data directory is\n" +
			"empty and there is a copy, it begins by restoring it.\n\n" +
			"SIGINT or SIGTERM: it turns not ready, stops reading, commits what it has read, checkpoints, sends the rest to the\n" +
			"replica and closes. A second signal ends it at once; nothing that was committed is lost.\n\n" +
			"Exit code: 0 it ended in order, 1 it failed, 2 it was called wrongly, 3 it ended in order and the replica doesn't have\n" +
			"all: the next start on this disk sends the rest.",
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{
				Name: "jetstream", Sources: cli.EnvVars("WEFT_JETSTREAM"), Value: []string{defaultJetstream},
				Usage: "the Jetstream server to follow, a host name or a `URL` such as wss://USER:PASSWORD@HOST/subscribe; several in order of preference: the next one is taken while one is away",
			},
			&cli.StringFlag{
				Name: "jetstream-key", Sources: cli.EnvVars("WEFT_JETSTREAM_KEY"),
				Usage: "the API `KEY` for the server's archive; --from start needs one where the archive is not open",
			},
			&cli.StringFlag{
				Name: "from", Sources: cli.EnvVars("WEFT_FROM"), Value: "now",
				Usage: "where a new index begins: now, start (of the archive), a sequence number or a time such as 2026-07-01T00:00:00Z; an index that has begun goes on where it was",
			},
			&cli.StringFlag{
				Name: "data", Sources: cli.EnvVars("WEFT_DATA"), Value: "./weft-data",
				Usage: "the `DIRECTORY` in which everything is kept",
			},
			&cli.StringFlag{
				Name: "checkpoint", Sources: cli.EnvVars("WEFT_CHECKPOINT"), Value: db.DefaultRule().String(),
				Usage: "the `RULE` by which the WAL is moved into the database: frames, MB, MiB or time, with | for any, & for all and parentheses; off where another process does it; with --replicate, when to warn of a WAL that grows",
			},
			&cli.DurationFlag{
				Name: "replay-window", Sources: cli.EnvVars("WEFT_REPLAY_WINDOW"),
				Usage: "how long the log is kept behind what is sealed into segments, such as 1h; 0 keeps it for ever, and then the index can be rebuilt from weft.db alone",
			},
			&cli.IntFlag{
				Name: "cache", Sources: cli.EnvVars("WEFT_CACHE"), Value: db.DefaultCacheBytes >> 20,
				Usage: "how many MiB of the segments' blocks are kept unpacked in memory; with more, queries of an index that is large answer sooner",
			},
			&cli.BoolFlag{
				Name: "resolve-handles", Sources: cli.EnvVars("WEFT_RESOLVE_HANDLES"), Value: true,
				Usage: "find accounts by their handles, in questions such as at://alice.example/…, and show handles on pages: asks DNS, the web and plc.directory; =false turns it off",
			},
			&cli.BoolFlag{
				Name: "yes", Sources: cli.EnvVars("WEFT_YES"),
				Usage: "begin a backfill of more than 1 GiB, of which the plan is printed otherwise",
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
				return &usageError{"serve", fmt.Errorf("--replay-window is 0 or a time such as 1h")}
			}
			checkpoint, err := db.ParseRule(cmd.String("checkpoint"))
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
func upstreamsOf(hosts []string) ([]ingest.Upstream, error) {
	if len(hosts) == 0 {
		return nil, &usageError{"serve", errors.New("--jetstream names at least one server")}
	}
	var out []ingest.Upstream
	for _, host := range hosts {
		u, err := ingest.ParseUpstream(host)
		if err != nil {
			return nil, &usageError{"serve", fmt.Errorf("--jetstream: %w", err)}
		}
		out = append(out, u)
	}
	return out, nil
}

// urlsOf lists upstreams without their passwords.
func urlsOf(upstreams []ingest.Upstream) string {
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
			Usage: "whether the content of records that link is kept: off; window, as long as the log; keep, as long as the record",
		},
		&cli.StringFlag{
			Name: "listen", Sources: cli.EnvVars("WEFT_LISTEN"), Value: "127.0.0.1:7780",
			Usage: "the `ADDRESS` for queries; port 0 takes a free one",
		},
		&cli.StringFlag{
			Name: "metrics-listen", Sources: cli.EnvVars("WEFT_METRICS_LISTEN"),
			Usage: "an `ADDRESS` for Prometheus metrics at /metrics, such as 127.0.0.1:7781; none by default",
		},
		&cli.StringFlag{
			Name: "did-web", Sources: cli.EnvVars("WEFT_DID_WEB"),
			Usage: "the `DOMAIN` under which this service is reached: publishes /.well-known/did.json for did:web:DOMAIN",
		},
		&cli.StringFlag{
			Name: "address-header", Sources: cli.EnvVars("WEFT_ADDRESS_HEADER"),
			Usage: "the `HEADER` in which the proxy in front says whom a request is from, such as X-Forwarded-For, of which the last entry counts; without it, the other end of the connection",
		},
		&cli.IntFlag{
			Name: "rate-limit", Sources: cli.EnvVars("WEFT_RATE_LIMIT"),
			Usage: "how many requests an address may make in a minute; 0: any number",
		},
		&cli.BoolFlag{
			Name: "access-log", Sources: cli.EnvVars("WEFT_ACCESS_LOG"),
			Usage: "write a line into the log for each request",
		},
		&cli.IntFlag{
			Name: "subscribers", Sources: cli.EnvVars("WEFT_SUBSCRIBERS"), Value: 50,
			Usage: "how many may listen to /subscribe and /events from one address",
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
		return 0, &usageError{cmd.Name, fmt.Errorf("--cache is a number of MiB, 1 or more, and was %d", mib)}
	}
	return int64(mib) << 20, nil
}

// checkAddresses refuses addresses that can't be listened on anywhere.
func checkAddresses(cmd *cli.Command) error {
	for _, flag := range []string{"listen", "metrics-listen"} {
		address := cmd.String(flag)
		if _, _, err := net.SplitHostPort(address); err != nil && (address != "" || flag == "listen") {
			return &usageError{cmd.Name, fmt.Errorf("--%s is a host and a port such as 127.0.0.1:7780: %w", flag, err)}
		}
	}
	return nil
}

func noArgs(cmd *cli.Command) error {
	if arg := cmd.Args().First(); arg != "" {
		return &usageError{cmd.Name, fmt.Errorf("%s takes no argument, and was given %q", cmd.Name, arg)}
	}
	return nil
}

func newLogger(cmd *cli.Command, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmd.String("log-level"))); err != nil {
		return nil, &usageError{cmd.Name, fmt.Errorf("--log-level is %q and can be debug, info, warn or error", cmd.String("log-level"))}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch cmd.String("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, &usageError{cmd.Name, fmt.Errorf("--log-format is %q and can be text or json", cmd.String("log-format"))}
}
