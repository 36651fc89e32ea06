package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
)

func statsCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "stats",
		Usage: "print the contents of an index and the disk space that they take",
		Description: "Reads a data directory that no running weft has open, and changes nothing: segments and bytes a link, log and its age,\n" +
			"weft.db and its WAL, names, and pending work. --url asks a running weft instead, which reports less.",
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{
				Name: "url", Sources: cli.EnvVars("WEFT_STATS_URL"),
				Usage: "ask the running weft at this `URL`, e.g. http://127.0.0.1:7780, instead of reading --data",
			},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArgs(cmd); err != nil {
				return err
			}
			if url := cmd.String("url"); url != "" {
				return statsOfURL(ctx, stdout, url)
			}
			in, err := db.Inspect(ctx, cmd.String("data"))
			if err != nil {
				return err
			}
			printStats(stdout, in)
			return nil
		},
	}
}
