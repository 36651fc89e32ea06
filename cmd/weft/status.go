package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
)

const statusDescription = `
Asks the weft at --url what its index holds, whether it is ready, which gaps are open, and how far behind its replica
is. With --ready it asks /readyz alone and prints the answer, as a health check needs it.

Exit code: 0 ready; 1 not ready, no answer or, without --ready, a replica that fails; 2 wrong usage.`

func statusCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "print the status of a running weft and its replica",
		Description: statusDescription,
		Flags: variables("WEFT_STATUS_",
			&cli.StringFlag{
				Name: "url", Value: "http://127.0.0.1:7780",
				Usage: "the `URL` of the running weft",
			},
			&cli.BoolFlag{
				Name:  "ready",
				Usage: "ask only whether it can answer, for a health check",
			},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArgs(cmd); err != nil {
				return err
			}
			if cmd.Bool("ready") {
				return readyOfURL(ctx, stdout, cmd.String("url"))
			}
			return statusOfURL(ctx, stdout, cmd.String("url"))
		},
	}
}

// statusTimeout limits a request to a running weft, which answers from memory.
const statusTimeout = 10 * time.Second

func statusOfURL(ctx context.Context, w io.Writer, base string) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	base = strings.TrimSuffix(base, "/")
	var st wire.Status
	err := getJSON(ctx, base+routes.Status.Path, &st)
	if err != nil {
		return err
	}
	printIndexStatus(w, base, &st)
	var wrong error
	if !st.Ready {
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

// readyOfURL prints whether the weft at a URL is ready. It returns an error if it isn't, or doesn't answer.
func readyOfURL(ctx context.Context, w io.Writer, base string) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var ready wire.Ready
	err := getJSON(ctx, strings.TrimSuffix(base, "/")+routes.Ready.Path, &ready)
	switch {
	case err != nil:
		return err
	case !ready.Ready:
		return errors.New("weft is not ready")
	case ready.Degraded != "":
		fmt.Fprintf(w, "ready, degraded: %s\n", ready.Degraded)
	default:
		fmt.Fprintln(w, "ready")
	}
	return nil
}

func printIndexStatus(w io.Writer, base string, st *wire.Status) {
	fmt.Fprintf(w, "weft %s at %s\n", st.Version, base)
	fmt.Fprintf(w, "  %s of %s by %s, log row %s\n", humanize.Count(st.Index.Links, "link"),
		humanize.Count(st.Index.Records, "record"),
		humanize.Count(st.Index.Actors, "account"), humanize.Number(int64(st.Index.LogSeq)))
	for _, r := range st.Index.Retention {
		fmt.Fprintf(w, "  keeps links from %s: %s\n", r.Links, r.Text())
	}
	if u := st.Upstream; u != nil {
		fmt.Fprintf(w, "  upstream %s: %s\n", u.Host, cmp.Or(u.Detail, u.State))
		if u.LagSeconds > 0 {
			fmt.Fprintf(w, "  %s behind the network\n", humanize.Seconds(u.LagSeconds))
		}
	}
	for _, g := range st.Gaps {
		fmt.Fprintf(w, "  gap %d, %s: %s %s to %s: %s\n", g.ID, g.State, g.Host, position(g.From), position(g.To), g.Why)
	}
	more := st.OpenGaps - int64(len(st.Gaps))
	if more > 0 {
		fmt.Fprintf(w, "  and %s\n", humanize.Count(more, "older gap"))
	}
	switch {
	case !st.Ready:
		fmt.Fprintf(w, "  not ready: %s\n", st.Reason)
	case st.Degraded != "":
		fmt.Fprintf(w, "  ready, degraded: %s\n", st.Degraded)
	default:
		fmt.Fprintf(w, "  ready\n")
	}
}

func printReplication(w io.Writer, r *wire.Replication) {
	fmt.Fprintf(w, "replica %s: %s\n", r.Replica, r.State)
	fmt.Fprintf(w, "  transaction: replica %s, local %s\n", cmp.Or(notZero(int64(r.ReplicaTXID)), "unknown"),
		humanize.Number(int64(r.LocalTXID)))
	fmt.Fprintf(w, "  log row: replica %s, local %s\n", cmp.Or(notZero(int64(r.DurableLogSeq)), "unknown"),
		humanize.Number(int64(r.LogSeq)))
	fmt.Fprintf(w, "  behind by %s, %s, %s\n", humanize.Count(r.LagTransactions, "transaction"),
		humanize.Bytes(r.LagBytes),
		humanize.Seconds(r.LagSeconds))
	fmt.Fprintf(w, "  %s to upload, %s\n", humanize.Count(int64(r.SegmentsWaiting), "segment"),
		humanize.Bytes(r.SegmentsWaitingBytes))
	fmt.Fprintf(w, "  sent since the start: %s, %s\n", humanize.Bytes(r.UploadedBytes), humanize.Count(r.SegmentsUploaded,
		"segment"))
	if r.LastSuccess != "" {
		fmt.Fprintf(w, "  last complete at %s\n", r.LastSuccess)
	}
	if r.LastError != "" {
		fmt.Fprintf(w, "  last error, at %s (%s in a row): %s\n", r.LastErrorAt, humanize.Number(int64(r.Failures)),
			r.LastError)
	}
	if r.Do != "" {
		fmt.Fprintf(w, "  do: %s\n", r.Do)
	}
}

// notZero formats a number; 0 gives "".
func notZero(n int64) string {
	if n == 0 {
		return ""
	}
	return humanize.Number(n)
}

// getJSON decodes the answer of a running weft.
func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("query %s: %w", url, err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("query weft (is it running there?): %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("query %s: it answers %s", url, res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("query %s: it answers %s, without the JSON of weft: %w", url, res.Status, err)
	}
	return nil
}
