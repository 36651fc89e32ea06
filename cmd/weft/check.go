package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/check"
	"weft.dev/weft/humanize"
)

const checkDescription = `
Verifies a data directory, also while a weft writes it: as of the moment at which it begins. It changes nothing:

  weft.db       SQLite's integrity check, and whether the tables agree with each other
  segments      every file of the manifest exists, has its checksum, and continues the file before it
  log           each row by itself, and its effect on the index
  names         each account, collection and source has one id, and each id one name
  records       each link of each record is in its target's list, and the lists hold nothing else; links of inactive
                accounts are in no list
  counts        each total and each count of accounts, against the links counted one by one

Without --all it checks the checksum of every file and a sample of the rest. That takes seconds on a small index; on
a large one, the disk's speed is the limit. --all reads everything in little memory, with about 20 µs of CPU a link,
and needs temporary disk space to sort the log. Until it ends, a running weft cannot empty its WAL, weft.db-wal, which
grows with each event.

Exit code: 0 no problem, 1 problems found or the check failed, 2 wrong usage. Each problem is one line that ends with
the fix.`

func checkCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "check",
		Usage:       "check a data directory for damage",
		Description: checkDescription,
		Flags: variables("WEFT_CHECK_",
			dataFlag(),
			&cli.BoolFlag{
				Name:  "all",
				Usage: "check everything",
			},
			&cli.IntFlag{
				Name: "sample", Value: 10_000,
				Usage: "check `N` records and lists chosen at random; a smaller index is checked whole",
			},
			&cli.Uint64Flag{
				Name:  "seed",
				Usage: "repeat the sample of an earlier check with this seed; 0: a new sample",
			},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArgs(cmd); err != nil {
				return err
			}
			o := check.Options{All: cmd.Bool("all"), Sample: cmd.Int("sample"), Seed: cmd.Uint64("seed")}
			switch {
			case o.Sample < 1:
				return &usageError{errors.New("--sample must be 1 or more")}
			case o.All && (cmd.IsSet("sample") || cmd.IsSet("seed")):
				return &usageError{errors.New("--all checks everything: remove --sample and --seed")}
			}
			if o.Seed == 0 {
				o.Seed = uint64(rand.Uint32()) + 1
			}
			o.Progress = func(what string, done, of int64) { printProgress(stderr, what, done, of) }
			report, err := check.Run(ctx, cmd.String("data"), o)
			if ctx.Err() != nil {
				return errors.New("interrupted: an incomplete check reports nothing")
			}
			if err != nil {
				return err
			}
			printReport(stdout, cmd.String("data"), report)
			if report.Total > 0 {
				return fmt.Errorf("%s has %s", cmd.String("data"), humanize.Count(report.Total, "problem"))
			}
			return nil
		},
	}
}

func printProgress(w io.Writer, what string, done, of int64) {
	switch {
	case done == 0:
		fmt.Fprintf(w, "checking %s\n", what)
	case of > 0:
		fmt.Fprintf(w, "checking %s: %s of %s\n", what, humanize.Number(done), humanize.Number(of))
	default:
		fmt.Fprintf(w, "checking %s: %s\n", what, humanize.Number(done))
	}
}

// printReport prints the checked and the unchecked parts, and each problem on a line.
func printReport(w io.Writer, dir string, r *check.Report) {
	if r.All {
		fmt.Fprintf(w, "%s, full check:\n\n", dir)
	} else {
		fmt.Fprintf(w, "%s, sample (--seed %d repeats it; --all checks everything):\n\n", dir, r.Seed)
	}
	for _, c := range r.Checked {
		fmt.Fprintf(w, "  %-19s %15s  %s\n", c.What, humanize.Number(c.N), c.How)
	}
	for _, what := range r.Left {
		fmt.Fprintf(w, "  not checked: %s\n", what)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	if r.Total == 0 {
		fmt.Fprintf(w, "\nNo problem.\n")
		return
	}
	kinds := make([]string, 0, len(r.Kinds))
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		kinds = append(kinds, fmt.Sprintf("%s: %s", kind, humanize.Number(r.Kinds[kind])))
	}
	fmt.Fprintf(w, "\n%s (%s)\n\n", humanize.Count(r.Total, "problem"), strings.Join(kinds, ", "))
	for _, p := range r.Problems {
		fmt.Fprintf(w, "  %s: %s → %s\n", p.Kind, strings.ReplaceAll(p.Text, "\n", " "), p.Mend)
	}
	if more := r.Total - int64(len(r.Problems)); more > 0 {
		fmt.Fprintf(w, "  … and %s more\n", humanize.Number(more))
	}
}
