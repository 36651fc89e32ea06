package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/web"
)

// variables gives each flag its environment variable, the prefix and the flag's name: --log-level is WEFT_LOG_LEVEL. It
// skips flags that have one.
func variables(prefix string, flags ...cli.Flag) []cli.Flag {
	for _, flag := range flags {
		described, ok := flag.(cli.DocGenerationFlag)
		if ok && len(described.GetEnvVars()) > 0 {
			continue
		}
		source := cli.EnvVars(prefix + strings.ToUpper(strings.ReplaceAll(flag.Names()[0], "-", "_")))
		switch f := flag.(type) {
		case *cli.BoolFlag:
			f.Sources = source
		case *cli.DurationFlag:
			f.Sources = source
		case *cli.FloatFlag:
			f.Sources = source
		case *cli.IntFlag:
			f.Sources = source
		case *cli.Int64Flag:
			f.Sources = source
		case *cli.StringFlag:
			f.Sources = source
		case *cli.StringSliceFlag:
			f.Sources = source
		case *cli.Uint64Flag:
			f.Sources = source
		default:
			panic(fmt.Sprintf("flag %s has a type without a variable: %T", flag.Names()[0], flag))
		}
	}
	return flags
}

// dataFlag is --data of serve and of the commands that look at a data directory.
func dataFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "data", Sources: cli.EnvVars("WEFT_DATA"), Value: "./weft-data",
		Usage: "the data `DIRECTORY`",
	}
}

// bodiesFlags are the flags of every command that writes an index. They have no place in followerFlags.
func bodiesFlags(bodies db.Bodies) []cli.Flag {
	return variables("WEFT_",
		&cli.StringFlag{
			Name: "bodies", Value: bodies.String(),
			Usage: "store the content of records with links: off; window: as long as the log; keep: as long as the record",
		},
	)
}

// listenFlags are the flags of every command that serves.
func listenFlags(logLevel string) []cli.Flag {
	return variables("WEFT_",
		&cli.StringFlag{
			Name: "listen", Value: "127.0.0.1:7780",
			Usage: "listen `ADDRESS` for queries; port 0: a free port",
		},
		&cli.StringFlag{
			Name:  "metrics-listen",
			Usage: "listen `ADDRESS` for Prometheus metrics at /metrics, e.g. 127.0.0.1:7781; default: none",
		},
		&cli.StringFlag{
			Name: "log-level", Value: logLevel,
			Usage: "debug, info, warn or error; debug also logs each request",
		},
	)
}

// clientFlags are the flags of serve about clients and the reverse proxy.
func clientFlags() []cli.Flag {
	return variables("WEFT_",
		&cli.StringFlag{
			Name:  "did-web",
			Usage: "public `DOMAIN` of this service; serves /.well-known/did.json for did:web:DOMAIN",
		},
		&cli.StringFlag{
			Name: "address-header",
			Usage: "client-IP `HEADER` set by your reverse proxy, e.g. X-Forwarded-For (last value is used); " +
				"default: the address of the connection",
		},
		&cli.IntFlag{
			Name:  "rate-limit",
			Usage: "rate limit: requests per minute and client IP (0: no limit)",
		},
		&cli.IntFlag{
			Name: "subscribers", Value: 50,
			Usage: "maximum live streams (/subscribe, /events) per client IP",
		},
		&cli.BoolFlag{
			Name: "resolve-handles", Value: true,
			Usage: "resolve handles in queries such as at://alice.example/… and show them on pages, by DNS, HTTPS and " +
				"plc.directory; =false turns it off",
		},
		&cli.DurationFlag{
			Name: "max-lag",
			Usage: "answer /readyz with 503 when the index is further behind than this, as /readyz?max-lag=60s does for one " +
				"request (0: never)",
		},
		&cli.StringFlag{
			Name: "viewer", Value: web.DefaultViewer,
			Usage: "`URL` of a viewer of records that pages link to, with {uri} in place of the at-uri; none turns it off",
		},
		&cli.StringFlag{
			Name: "log-format", Value: "text",
			Usage: "text or json",
		},
	)
}

// daemonConfigOf reads the flags of a command that serves. A demo has no clientFlags; their fields keep the zero
// values.
func daemonConfigOf(cmd *cli.Command, stderr io.Writer) (daemonConfig, error) {
	err := checkAddresses(cmd)
	if err != nil {
		return daemonConfig{}, err
	}
	viewer := cmp.Or(cmd.String("viewer"), web.DefaultViewer)
	err = web.CheckViewer(viewer)
	if err != nil {
		return daemonConfig{}, &usageError{fmt.Errorf("--viewer: %w", err)}
	}
	maxLag := cmd.Duration("max-lag")
	if maxLag < 0 {
		return daemonConfig{}, &usageError{errors.New("--max-lag must be 0 or a duration such as 1m")}
	}
	logger, err := newLogger(cmd, stderr)
	return daemonConfig{
		maxLag: maxLag,
		listen: cmd.String("listen"), metricsListen: cmd.String("metrics-listen"), didWeb: cmd.String("did-web"),
		addressHeader: cmd.String("address-header"), subscribers: cmd.Int("subscribers"), rateLimit: cmd.Int("rate-limit"),
		resolveHandles: cmd.Bool("resolve-handles"), viewer: viewer, logger: logger,
	}, err
}

func bodiesOf(cmd *cli.Command) (db.Bodies, error) {
	bodies, err := db.ParseBodies(cmd.String("bodies"))
	if err != nil {
		return bodies, &usageError{fmt.Errorf("--bodies: %w", err)}
	}
	return bodies, nil
}

// checkAddresses refuses addresses without a host and a port.
func checkAddresses(cmd *cli.Command) error {
	for _, flag := range []string{"listen", "metrics-listen"} {
		address := cmd.String(flag)
		if _, _, err := net.SplitHostPort(address); err != nil && (address != "" || flag == "listen") {
			return &usageError{fmt.Errorf("--%s must be a host and a port such as 127.0.0.1:7780: %w", flag, err)}
		}
	}
	return nil
}

func noArgs(cmd *cli.Command) error {
	if arg := cmd.Args().First(); arg != "" {
		return &usageError{fmt.Errorf("%s takes no argument, but got %q", cmd.Name, arg)}
	}
	return nil
}

func newLogger(cmd *cli.Command, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmd.String("log-level"))); err != nil {
		return nil, &usageError{fmt.Errorf("--log-level must be debug, info, warn or error, not %q",
			cmd.String("log-level"))}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch cmd.String("log-format") {
	case "text", "":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, &usageError{fmt.Errorf("--log-format must be text or json, not %q", cmd.String("log-format"))}
}
