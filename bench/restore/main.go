// Command restore measures weft restore and weft verify: restored MB a second, and peak memory of the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/db/inspect"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/db/replica/config"
)

const description = `Fills a data directory with simulated events, copies it to a replica, builds cmd/weft and runs its
commands on the replica. Memory is the peak of the resident set of that process.

  go run ./bench/restore                                       a million links, a replica in a temporary directory
  go run ./bench/restore --config s3.yml                       a replica as this litestream.yml says; it must be empty
  go run ./bench/restore --links 10000000 --data /data/ten     ten million, in a directory that is kept, and taken as it
                                                               is the next time
  go run ./bench/restore --litestream "$(which litestream)"    and stock Litestream's restore of weft.db beside it`

type options struct {
	links                    int64
	data, config, litestream string
}

func main() { common.Main("restore", runCommand) }

func runCommand(ctx context.Context) error {
	var o options
	cmd := &cli.Command{
		Name: "restore", Usage: "measure weft restore", Description: description, HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.Int64Flag{Name: "links", Usage: "number of links to generate", Value: 1_000_000, Destination: &o.links},
			&cli.StringFlag{Name: "data", Usage: "a new or existing data `DIRECTORY` (default: a temporary one)",
				Destination: &o.data},
			&cli.StringFlag{Name: "config", Usage: "a litestream.yml (`FILE`) whose replica is empty (default: one in a " +
				"temporary directory)", Destination: &o.config},
			&cli.StringFlag{Name: "litestream", Usage: "the stock `PROGRAM`", Destination: &o.litestream},
		},
		Action: func(ctx context.Context, _ *cli.Command) error { return measure(ctx, o) },
	}
	return cmd.Run(ctx, os.Args)
}

func measure(ctx context.Context, o options) error {
	work, err := os.MkdirTemp("", "weft-bench-restore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if o.data == "" {
		o.data = filepath.Join(work, "data")
	}
	if _, err := os.Stat(filepath.Join(o.data, "weft.db")); errors.Is(err, os.ErrNotExist) {
		if err := common.Fill(ctx, o.data, o.links, false); err != nil {
			return err
		}
	}
	in, err := inspect.Run(ctx, o.data)
	if err != nil {
		return err
	}
	weft, err := common.Build(ctx, work)
	if err != nil {
		return err
	}
	if o.config == "" {
		o.config = filepath.Join(work, "litestream.yml")
		text := fmt.Sprintf("dbs: [{path: %q, replica: {type: file, path: %q}}]\n", filepath.Join(work, "weft.db"),
			filepath.Join(work, "replica"))
		if err := os.WriteFile(o.config, []byte(text), 0o644); err != nil {
			return err
		}
	}
	segments := int64(0)
	for _, s := range in.Segments {
		segments += s.Bytes
	}
	fmt.Printf("weft.db %.1f MB, %d segments of %.1f MB\n", mb(in.File.Bytes), len(in.Segments), mb(segments))
	start := time.Now()
	sent, err := upload(ctx, o.config, o.data)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %8s %10s %9s\n", "", "s", "MB/s", "RSS, MB")
	row("copied, "+fmt.Sprintf("%.1f MB", mb(sent)), time.Since(start), in.File.Bytes+segments, 0)
	out := filepath.Join(work, "out")
	for _, run := range []struct {
		name  string
		bytes int64
		args  []string
	}{
		{"weft restore --plan", 0, []string{weft, "restore", "--config", o.config, "--data", out, "--plan"}},
		{"weft restore", in.File.Bytes + segments, []string{weft, "restore", "--config", o.config, "--data", out}},
		{"weft verify", in.File.Bytes + segments, []string{weft, "verify", "--config", o.config, "--scratch", work}},
		{"litestream restore, weft.db", in.File.Bytes, []string{o.litestream, "restore", "-config", o.config,
			"-integrity-check", "full", "-o", filepath.Join(work, "theirs")}},
	} {
		if run.args[0] == "" {
			continue
		}
		if run.args[0] == o.litestream {
			c, err := config.Read(o.config)
			if err != nil {
				return err
			}
			run.args = append(run.args, c.DB)
		}
		cmd := exec.CommandContext(ctx, run.args[0], run.args[1:]...)
		cmd.Stderr = os.Stderr
		start := time.Now()
		rss, err := common.Run(cmd)
		if err != nil {
			return fmt.Errorf("%s: %w", run.name, err)
		}
		row(run.name, time.Since(start), run.bytes, rss)
	}
	return nil
}

// upload copies an index that no process has open to a replica: each file as one snapshot.
func upload(ctx context.Context, file, data string) (sent int64, err error) {
	c, err := config.Read(file)
	if err != nil {
		return 0, err
	}
	files, err := filepath.Glob(filepath.Join(data, "segments", "*.weft"))
	if err != nil {
		return 0, err
	}
	for _, path := range append(files, filepath.Join(data, "weft.db")) {
		sub := ""
		if filepath.Ext(path) == ".weft" {
			sub = config.SegmentSub(filepath.Base(path))
		}
		client, err := c.Client(sub)
		if err != nil {
			return 0, err
		}
		n, err := replica.Upload(ctx, client, path, nil)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, fmt.Errorf("the replica of %s isn't empty", file)
		}
		sent += n
	}
	return sent, nil
}

func row(name string, took time.Duration, bytes, rss int64) {
	fmt.Printf("%-28s %8.2f %10.0f %9d\n", name, took.Seconds(), mb(bytes)/took.Seconds(), rss/1000)
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
