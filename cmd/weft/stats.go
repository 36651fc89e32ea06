package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/inspect"
)

const statsDescription = `
Reads a data directory, also while a weft writes it, and changes nothing: segments and bytes a link, log and its age,
weft.db and its WAL, names, and pending work. weft status asks a running weft.`

func statsCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "stats",
		Usage:       "print the contents of an index and the disk space that they take",
		Description: statsDescription,
		Flags:       variables("WEFT_", dataFlag()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			err := noArgs(cmd)
			if err != nil {
				return err
			}
			in, err := inspect.Run(ctx, cmd.String("data"))
			if err != nil {
				return err
			}
			printStats(stdout, in)
			return nil
		},
	}
}
