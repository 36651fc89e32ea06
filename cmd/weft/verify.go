package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	sizes "github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/humanize"
)

const verifyDescription = `
Restores the newest weft.db into a scratch directory, checks it, verifies the checksum of every other database file in
the replica, and checks that no file is missing. It reads the segments of the newest state without storing them, and
skips segments that only older states need. weft may run meanwhile.

It needs disk space for one weft.db, about 32 MB of memory, and reads all these files; --segment-bytes limits that.
weft serve --verify-every does the same while it replicates.

The result is one word: ok, failed (with the faults), or inconclusive: the replica cannot be reached, or the scratch
directory is too small.

Exit code: 0 ok, 1 failed, 2 wrong usage, 3 inconclusive.`

func verifyCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "verify",
		Usage:       "verify that a replica can be restored: test-restore weft.db and check every file",
		Description: verifyDescription,
		Flags: variables("WEFT_VERIFY_", append(replicaFlags(), jsonFlag(),
			&cli.StringFlag{
				Name:  "scratch",
				Usage: "scratch `DIRECTORY`; default: the temporary directory of the system",
			},
			&cli.StringFlag{
				Name: "segment-bytes",
				Usage: "read at most this much of the segments, chosen at random, e.g. 10GB; of the others, check only that they " +
					"exist",
			},
		)...),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			cfg, _, err := replicaOf(cmd)
			if err != nil {
				return err
			}
			o := restore.VerifyOptions{Scratch: cmd.String("scratch")}
			if text := cmd.String("segment-bytes"); text != "" {
				bytes, err := sizes.ParseBytes(text)
				if err != nil || bytes == 0 || bytes > math.MaxInt64 {
					return &usageError{fmt.Errorf("--segment-bytes must be a size such as 10GB, not %q", text)}
				}
				o.SegmentBytes = int64(bytes)
			}
			bar := newTransfer(stderr)
			o.Progress = bar.tick
			v := restore.Verify(ctx, cfg, o)
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
			case v.Outcome == restore.Failed:
				err = errors.New("the replica is faulty")
			case v.Outcome == restore.Inconclusive:
				err = &exitError{exitInconclusive, errors.New("the replica could not be verified")}
			}
			return err
		},
	}
}

// exitInconclusive is the exit code of weft verify when the replica could not be verified.
const exitInconclusive = 3

// exitError is an error with its own exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func printVerification(w io.Writer, where string, v *restore.Verification) {
	fmt.Fprintf(w, "%s: %s", v.Outcome, where)
	if v.TXID != 0 {
		fmt.Fprintf(w, "\n  a restore now gives transaction %s of %s (%s old), log row %s", v.TXID, clock(v.Time),
			humanize.Seconds(v.AgeSeconds), humanize.Number(int64(v.LogSeq)))
	}
	fmt.Fprintf(w, "\n  read: %s of weft.db, %d of %s of the newest state, %s in %s; scratch: %s\n",
		humanize.Count(int64(v.Files), "file"), v.SegmentsRead, humanize.Count(int64(v.Segments), "segment"),
		humanize.Bytes(v.ReadBytes), humanize.Seconds(v.TookSeconds),
		humanize.Bytes(v.ScratchBytes))
	for _, note := range v.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	for _, fault := range v.Faults {
		fmt.Fprintf(w, "  %s: %s\n", v.Outcome, fault)
	}
}
