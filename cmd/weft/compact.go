package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dirlock"
)

const compactDescription = `
Compacts all segments of an index into one: queries then read one file, and links that came and went take no space.
weft compacts by itself as the index grows. This is for an index that has lost much, as after --change-slice now+purge,
or that grows no more.

A running weft does it beside its work, asked over the socket weft.sock in the data directory: run the command as the
user of weft, on its machine or in its container. Ctrl-C then ends only the wait. Where no weft runs, the command opens
the index itself, and Ctrl-C ends the compaction.

It needs as much free disk as the segments take, an eighth of that, and what weft keeps free. A replica gets the new
segment whole.`

func compactCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "compact",
		Usage:       "compact all segments of an index into one",
		Description: compactDescription,
		Flags:       variables("WEFT_", dataFlag()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			err := noArgs(cmd)
			if err != nil {
				return err
			}
			progress := func(text string) { fmt.Fprintln(stderr, text) }
			done, err := runCompact(ctx, cmd.String("data"), progress)
			if err != nil {
				return err
			}
			fmt.Fprintln(stdout, done)
			return nil
		},
	}
}

// runCompact compacts a data directory, directly or through the weft that has it open, and returns a summary.
func runCompact(ctx context.Context, dir string, progress func(text string)) (done string, err error) {
	line, err := compactHere(ctx, dir, progress)
	running := errors.Is(err, dirlock.ErrLocked)
	if running {
		line, err = askWeft(ctx, dir, compactPath, progress)
	}
	switch {
	case ctx.Err() != nil && running:
		return "", errors.New("interrupted: the running weft goes on with the compaction")
	case ctx.Err() != nil:
		return "", errors.New("interrupted: the segments are as they were")
	case err != nil:
		return "", err
	case line.Error != "":
		return "", errors.New(line.Error)
	}
	return line.Done, nil
}

// compactHere opens a data directory that no weft has open, and compacts it.
func compactHere(ctx context.Context, dir string, progress func(text string)) (line controlLine, err error) {
	r, err := db.OpenReadOnly(dir, true)
	if err != nil {
		return line, err
	}
	bodies, _, err := r.StoredBodies(ctx)
	err = errors.Join(err, r.Close())
	if err != nil {
		return line, err
	}
	// It prunes nothing and leaves the WAL to a replicator: the next start of serve has its own settings for both.
	s, err := db.OpenContext(ctx, db.Config{Dir: dir, Bodies: bodies, Replicator: true})
	if err != nil {
		return line, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return compact(ctx, s, progress), nil
}
