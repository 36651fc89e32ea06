package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/api/wire"
)

func statusCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "print the status of a running weft and its replica",
		Description: "Asks the weft at --url whether it is ready, how far it has read, and how far its replica is.\n\n" +
			"Exit code: 0 ready and the replica is not failing, 1 not so or no answer, 2 wrong usage.",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name: "url", Sources: cli.EnvVars("WEFT_STATUS_URL"), Value: "http://127.0.0.1:7780",
				Usage: "the `URL` of the running weft",
			},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArgs(cmd); err != nil {
				return err
			}
			return statusOfURL(ctx, stdout, cmd.String("url"))
		},
	}
}

func statusOfURL(ctx context.Context, w io.Writer, base string) error {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	base = strings.TrimSuffix(base, "/")
	var st wire.Status
	if err := getJSON(ctx, base+"/status", &st, false); err != nil {
		return err
	}
	fmt.Fprintf(w, "weft %s at %s\n  %s, log row %s\n", st.Version, base, count(st.Index.Links, "link"), thousands(int64(st.Index.LogSeq)))
	var wrong error
	if st.Ready {
		fmt.Fprintf(w, "  ready\n")
	} else {
		fmt.Fprintf(w, "  not ready: %s\n", st.Reason)
		wrong = errors.New("weft is not ready")
	}
	r := st.Replication
	if r == nil {
		fmt.Fprintf(w, "  replication is off\n")
		return wrong
	}
	printReplication(w, r)
	if r.State == "failing" {
		wrong = errors.Join(wrong, errors.New("replication is failing"))
	}
	return wrong
}

func printReplication(w io.Writer, r *wire.Replication) {
	fmt.Fprintf(w, "replica %s: %s\n", r.Replica, r.State)
	fmt.Fprintf(w, "  transaction: replica %s, local %s\n", cmp.Or(notZero(int64(r.ReplicaTXID)), "unknown"), thousands(int64(r.LocalTXID)))
	fmt.Fprintf(w, "  log row: replica %s, local %s\n", cmp.Or(notZero(int64(r.DurableLogSeq)), "unknown"), thousands(int64(r.LogSeq)))
	fmt.Fprintf(w, "  behind by %s, %s, %s\n", count(r.LagTransactions, "transaction"), size(r.LagBytes),
		time.Duration(r.LagSeconds*float64(time.Second)).Round(100*time.Millisecond))
	fmt.Fprintf(w, "  %s to upload, %s\n", count(int64(r.SegmentsWaiting), "segment"), size(r.SegmentsWaitingBytes))
	fmt.Fprintf(w, "  sent since the start: %s, %s\n", size(r.UploadedBytes), count(r.SegmentsUploaded, "segment"))
	if r.LastSuccess != "" {
		fmt.Fprintf(w, "  last complete at %s\n", r.LastSuccess)
	}
	if r.LastError != "" {
		fmt.Fprintf(w, "  last error, at %s (%s in a row): %s\n", r.LastErrorAt, thousands(int64(r.Failures)), r.LastError)
	}
	if r.Do != "" {
		fmt.Fprintf(w, "  do: %s\n", r.Do)
	}
}

// notZero is a number, or nothing.
func notZero(n int64) string {
	if n == 0 {
		return ""
	}
	return thousands(n)
}
