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
		Usage: "say what an index holds, and where its bytes are",
		Description: "Looks at a data directory that no weft has open, and changes nothing in it: the segments and what a link takes in\n" +
			"them, the log and its age, weft.db and its WAL, names, and what is pending. For a weft that runs, --url asks it\n" +
			"for what it knows of itself, which is less.",
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{
				Name: "url", Sources: cli.EnvVars("WEFT_STATS_URL"),
				Usage: "ask the weft that answers at this `URL`, such as http://127.0.0.1:7780; --data is not used then",
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
