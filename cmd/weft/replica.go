package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/humanize"
)

const replicaListDescription = `
Reads the file list of the replica and some database pages, and changes nothing. Level 0 holds the uploaded files;
levels 1 to 8 hold files compacted from the level below; level 9 holds snapshots. Retention deletes the oldest files
of a level, never one in the middle. weft verify reads everything.

Exit code: 0 listed, 1 the replica is empty or unreadable, 2 wrong usage.`

func replicaCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "replica",
		Usage: "inspect a Litestream replica of an index",
		Commands: []*cli.Command{{
			Name:        "list",
			Usage:       "list the files of a replica and the times it can be restored to",
			Description: replicaListDescription,
			Flags:       variables("WEFT_REPLICA_", append(replicaFlags(), jsonFlag())...),
			Action: func(ctx context.Context, cmd *cli.Command) error {
				cfg, _, err := replicaOf(cmd)
				if err != nil {
					return err
				}
				l, err := restore.List(ctx, cfg)
				if err != nil {
					return fmt.Errorf("%s: %w", cfg.Where(), err)
				}
				if cmd.Bool("json") {
					return printJSON(stdout, l)
				}
				printListing(stdout, cfg.Where(), l)
				return nil
			},
		}},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if arg := cmd.Args().First(); arg != "" {
				return unknownCommand(cmd, arg)
			}
			return cli.ShowSubcommandHelp(cmd)
		},
	}
}

// replicaFlags are the flags of the commands that read a replica.
func replicaFlags() []cli.Flag {
	return variables("WEFT_",
		&cli.StringFlag{
			Name: "config", Sources: cli.EnvVars("WEFT_REPLICATE"),
			Usage: "the litestream.yml (`FILE`) of the replica; default: the one in the data directory, else in the current " +
				"directory",
		},
		&cli.StringFlag{
			Name: "data", Sources: cli.EnvVars("WEFT_DATA"),
			Usage: "the data `DIRECTORY`; default: that of the database in litestream.yml",
		},
	)
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}

// replicaOf returns the configuration of a replica and the data directory.
func replicaOf(cmd *cli.Command) (cfg config.Config, dir string, err error) {
	if err := noArgs(cmd); err != nil {
		return cfg, "", err
	}
	dir = cmd.String("data")
	file := cmd.String("config")
	if file == "" || file == "off" { // WEFT_REPLICATE=off is meant for serve
		file = "litestream.yml"
		if beside := filepath.Join(dir, file); dir != "" {
			if _, err := os.Stat(beside); err == nil {
				file = beside
			}
		}
	}
	cfg, err = config.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, "", &usageError{fmt.Errorf("%w; give the litestream.yml of the replica with --config", err)}
	}
	if err != nil {
		return cfg, "", &usageError{fmt.Errorf("--config: %w", err)}
	}
	if dir == "" {
		dir = filepath.Dir(cfg.DB)
	}
	return cfg, dir, nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printListing prints the contents of a replica.
func printListing(w io.Writer, where string, l *restore.Listing) {
	fmt.Fprintf(w, "%s\n", where)
	fmt.Fprintf(w, "\nLevels\n  %-9s %6s %10s  %-33s  %s\n", "level", "files", "bytes", "transactions",
		"times of the oldest and of the newest file")
	for _, v := range l.Levels {
		name := strconv.Itoa(v.Level)
		if v.Level == 9 {
			name = "snapshots"
		}
		fmt.Fprintf(w, "  %-9s %6s %10s  %-33s  %s to %s\n", name, humanize.Number(int64(v.Files)), humanize.Bytes(v.Bytes),
			fmt.Sprintf("%s-%s", v.Min, v.Max), clock(v.From), clock(v.To))
	}
	if len(l.Snapshots) > 0 {
		fmt.Fprintf(w, "\nSnapshots\n")
	}
	for _, f := range l.Snapshots {
		fmt.Fprintf(w, "  %s  %10s  up to transaction %s\n", clock(f.Time), humanize.Bytes(f.Bytes), f.Max)
	}
	fmt.Fprintf(w, "\nRestorable\n")
	for _, s := range l.Spans {
		fmt.Fprintf(w, "  %s to %s, transactions %s to %s, at %s\n", clock(s.FromTime), clock(s.ToTime), s.From, s.To,
			humanize.Count(int64(s.Points), "moment"))
	}
	if len(l.Spans) == 0 {
		fmt.Fprintf(w, "  nothing: the replica has no snapshot\n")
	}
	for _, b := range l.Breaks {
		fmt.Fprintf(w, "  level %d lacks the transactions %s to %s, between others that it has\n", b.Level, b.From, b.To)
	}
	if l.Manifest == nil {
		return
	}
	fmt.Fprintf(w, "\nNewest state\n  index %.8s…, log row %s%s, weft.db %s\n", l.Manifest.Instance,
		humanize.Number(int64(l.Manifest.LastSeq)), logMoment(l.Manifest.LastUS), humanize.Bytes(l.DatabaseBytes))
	printStored(w, l.Segments)
}

// printStored prints the segments that a manifest names.
func printStored(w io.Writer, segments []restore.StoredSegment) {
	bytes := int64(0)
	stored := int64(0)
	missing := 0
	for _, s := range segments {
		bytes = bytes + s.Bytes
		stored = stored + s.Stored
		if s.Stored == 0 {
			missing++
		}
	}
	fmt.Fprintf(w, "  %s of %s, %s in the replica\n", humanize.Count(int64(len(segments)), "segment"),
		humanize.Bytes(bytes), humanize.Bytes(stored))
	for _, s := range segments {
		note := humanize.Bytes(s.Stored)
		switch {
		case s.Stored == 0:
			note = "missing"
		case s.There:
			note = "already in the data directory"
		}
		fmt.Fprintf(w, "    %-42s %10s  %s\n", s.File, humanize.Bytes(s.Bytes), note)
	}
	if missing > 0 {
		fmt.Fprintf(w, "  %s missing in the replica: if the log is complete, weft serve rebuilds them\n",
			humanize.Count(int64(missing), "segment"))
	}
}

// clock formats a time to the second.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// logMoment formats the time of the newest row of a log.
func logMoment(us int64) string {
	if us == 0 {
		return ""
	}
	return " of " + utc(us)
}
