package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"

	"weft.dev/weft/replica"
)

func verifyCommand(stdout, stderr io.Writer) *cli.Command {
	variable := func(name string) cli.ValueSourceChain { return cli.EnvVars("WEFT_VERIFY_" + name) }
	return &cli.Command{
		Name:  "verify",
		Usage: "prove that a replica can be restored: restore the newest moment, and read every file of weft.db",
		Description: "Restores the newest weft.db in a scratch place, checks it, reads every other file of the replica for its checksum,\n" +
			"and looks that no file is missing. The segments of the newest moment are read, and need no disk; segments that only\n" +
			"earlier moments need are not. A weft may run meanwhile.\n\n" +
			"It takes the disk of one weft.db, some 32 MB of memory, and a read of all these files: --segment-bytes bounds\n" +
			"that. weft serve --verify-every does the same while it replicates.\n\n" +
			"The answer is one word: ok, failed (and what is wrong, by name), or inconclusive: it couldn't be told, for the\n" +
			"replica can't be reached, say, or the scratch place is too small.\n\n" +
			"Exit code: 0 ok, 1 failed, 2 it was called wrongly, 3 inconclusive.",
		Flags: append(replicaFlags(), jsonFlag("WEFT_VERIFY_JSON"),
			&cli.StringFlag{
				Name: "scratch", Sources: variable("SCRATCH"),
				Usage: "restore in a new directory beneath this `DIRECTORY`; without it, where the system has temporary files",
			},
			&cli.StringFlag{
				Name: "segment-bytes", Sources: variable("SEGMENT_BYTES"),
				Usage: "read at most so much of segments, chosen at random, such as 10GB; of the others it is looked up that they are there",
			},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			cfg, _, err := replicaOf(cmd)
			if err != nil {
				return err
			}
			o := replica.VerifyOptions{Scratch: cmd.String("scratch")}
			if text := cmd.String("segment-bytes"); text != "" {
				bytes, err := humanize.ParseBytes(text)
				if err != nil || bytes == 0 || bytes > math.MaxInt64 {
					return &usageError{"verify", fmt.Errorf("--segment-bytes is a size such as 10GB, not %q", text)}
				}
				o.SegmentBytes = int64(bytes)
			}
			bar := newTransfer(stderr)
			o.Progress = bar.tick
			v := replica.Verify(ctx, cfg, o)
			bar.end()
			if ctx.Err() != nil {
				return &exitError{exitInconclusive, errors.New("interrupted: inconclusive")}
			}
			if cmd.Bool("json") {
				err = printJSON(stdout, v)
			} else {
				printVerification(stdout, cfg.Where(), v)
			}
			switch {
			case v.Outcome == replica.Failed:
				err = errors.New("the replica is not what it should be")
			case v.Outcome == replica.Inconclusive:
				err = &exitError{exitInconclusive, errors.New("nothing can be said of the replica")}
			}
			return err
		},
	}
}

// exitInconclusive is the exit code of weft verify where nothing can be said.
const exitInconclusive = 3

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func printVerification(w io.Writer, where string, v *replica.Verification) {
	fmt.Fprintf(w, "%s: %s", v.Outcome, where)
	if v.TXID != 0 {
		fmt.Fprintf(w, "\n  a restore now gives transaction %s at %s, which is %s old, log row %s", v.TXID, clock(v.Time),
			time.Duration(v.AgeSeconds*float64(time.Second)).Round(100*time.Millisecond), thousands(int64(v.LogSeq)))
	}
	fmt.Fprintf(w, "\n  read: %s of weft.db, %d of %s of the newest moment, %s in %s; scratch: %s\n", count(int64(v.Files), "file"), v.SegmentsRead, count(int64(v.Segments), "segment"),
		size(v.ReadBytes), time.Duration(v.TookSeconds*float64(time.Second)).Round(time.Millisecond), size(v.ScratchBytes))
	for _, note := range v.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	for _, fault := range v.Faults {
		fmt.Fprintf(w, "  %s: %s\n", v.Outcome, fault)
	}
}
