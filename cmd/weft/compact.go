package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
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

// runCompact compacts a data directory, or asks the weft that has it open to, and returns what was done.
func runCompact(ctx context.Context, dir string, progress func(text string)) (done string, err error) {
	line, err := compactHere(ctx, dir, progress)
	running := errors.Is(err, db.ErrLocked)
	if running {
		line, err = askCompact(ctx, dir, progress)
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
	// Nothing is pruned, and the WAL stays for a replicator: the next start of serve has its own settings for both.
	s, err := db.OpenContext(ctx, db.Config{Dir: dir, Bodies: bodies, Replicator: true})
	if err != nil {
		return line, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return compact(ctx, s, progress), nil
}

// askCompact asks the weft that has a data directory open.
func askCompact(ctx context.Context, dir string, progress func(text string)) (line controlLine, err error) {
	fail := func(err error) (controlLine, error) {
		return controlLine{}, fmt.Errorf("ask the weft that has %s open: %w", dir, err)
	}
	path, release, err := socketPath(dir)
	if err != nil {
		return fail(err)
	}
	defer release()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			err = fmt.Errorf("%w; it is a follower, is opening its index, or another command: try again when it serves", err)
		}
		return conn, err
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://weft"+compactPath, nil)
	if err != nil {
		return fail(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("it answers %s", res.Status))
	}
	for lines := json.NewDecoder(bufio.NewReader(res.Body)); ; {
		line = controlLine{}
		err := lines.Decode(&line)
		if err != nil {
			return fail(fmt.Errorf("it ended before the compaction: %w", err))
		}
		if line.Progress == "" {
			return line, nil
		}
		progress(line.Progress)
	}
}
