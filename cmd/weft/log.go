package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/inspect"
)

const logDescription = `
Prints what events changed, one JSON object a line, as the log of a data directory has it: a row for each event that
changed something, with the links that it removed and added, and the rows of resyncs and of changes of status. weft
check names rows of the log by their seq. Reads also while a weft writes the directory, and changes nothing.

The log is not the current state, for which use the API or weft export. A running weft sends new rows on /events and
/subscribe.`

func logCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "log",
		Usage:       "print rows of the log",
		Description: logDescription,
		Flags: append(variables("WEFT_", dataFlag()), variables("WEFT_LOG_",
			&cli.Uint64Flag{Name: "from", Usage: "the first row to print, by its `SEQ` (0: the newest rows)"},
			&cli.Uint64Flag{Name: "limit", Value: 10, Usage: "print at most `N` rows"})...),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			err := noArgs(cmd)
			if err != nil {
				return err
			}
			out := json.NewEncoder(stdout)
			out.SetEscapeHTML(false)
			return inspect.ReadLog(ctx, cmd.String("data"), cmd.Uint64("from"), cmd.Uint64("limit"),
				func(row *inspect.LogRow) error { return out.Encode(row) })
		},
	}
}
