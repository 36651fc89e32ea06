package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/humanize"
)

const gapsDescription = `
Lists the gaps of an index, open and filled. A gap is a range of upstream events that the index missed. A running weft
fills gaps from an upstream's archive by itself, and retries with growing delays until the archive has the events.

  weft gaps            lists the gaps
  weft gaps retry      retries all open gaps
  weft gaps retry 7    retries gap 7

A running weft retries within a minute; it is asked over the socket weft.sock in the data directory, so run the command
as the user of weft, on its machine or in its container. A stopped weft retries when it starts.`

// errNoOpenGap is returned for a retry of a gap that is filled or never existed.
var errNoOpenGap = errors.New("no open gap has this id")

func gapsCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "gaps",
		ArgsUsage:   "[retry [ID]]",
		Usage:       "list the gaps of an index, or retry them",
		Description: gapsDescription,
		Flags:       variables("WEFT_", dataFlag()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			args := cmd.Args().Slice()
			switch {
			case len(args) == 0:
				gaps, err := db.ListGaps(ctx, cmd.String("data"))
				if err != nil {
					return err
				}
				printGaps(stdout, gaps)
				return nil
			case args[0] != "retry" || len(args) > 2:
				return &usageError{fmt.Errorf("gaps takes only the arguments retry and an id, not %q", args)}
			}
			id := int64(0)
			if len(args) == 2 {
				var err error
				id, err = strconv.ParseInt(args[1], 10, 64)
				if err != nil || id < 1 {
					return &usageError{fmt.Errorf("%q is not a gap id", args[1])}
				}
			}
			done, err := retryGaps(ctx, cmd.String("data"), id)
			if err != nil {
				return err
			}
			fmt.Fprintln(stdout, done)
			return nil
		},
	}
}

// retryGaps makes an open gap due now, or all with id 0: directly, or through the weft that has the data directory
// open.
func retryGaps(ctx context.Context, dir string, id int64) (done string, err error) {
	n, err := db.RetryGaps(dir, id)
	switch {
	case errors.Is(err, dirlock.ErrLocked):
		line, err := askWeft(ctx, dir, retryGapsPath+"?id="+strconv.FormatInt(id, 10), func(string) {})
		if err == nil && line.Error != "" {
			err = errors.New(line.Error)
		}
		return line.Done, err
	case err != nil:
		return "", err
	case n == 0 && id > 0:
		return "", errNoOpenGap
	}
	return humanize.Count(n, "gap") + " will be retried when weft starts", nil
}

// printGaps prints each gap on two lines or three.
func printGaps(w io.Writer, gaps []db.Gap) {
	if len(gaps) == 0 {
		fmt.Fprintln(w, "No gaps: the index has every event since it began.")
		return
	}
	for _, g := range gaps {
		fmt.Fprintf(w, "%d  %s  %s\n   %s to %s: %s\n", g.ID, g.State, g.Host, position(g.From), position(g.To), g.Why)
		if g.Note != "" {
			fmt.Fprintf(w, "   %s, %s: %s\n", humanize.Count(int64(g.Tries), "attempt"), utc(g.TriedUS), g.Note)
		}
	}
}

// position formats a position of an upstream: a sequence number, or from 10^15 on a time.
func position(pos uint64) string {
	if pos >= 1_000_000_000_000_000 {
		return time.UnixMicro(int64(pos)).UTC().Format(time.RFC3339)
	}
	return humanize.Number(int64(pos))
}
