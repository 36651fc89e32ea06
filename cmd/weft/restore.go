package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/humanize"
)

const restoreDescription = `
Restores weft.db and its segments into a data directory that no running weft has open. It writes the database under a
temporary name, checks it (SQLite's integrity check, the checksum of every file and segment, the id of the index), and
only then renames it. Without --force it overwrites nothing; with --force it first moves the existing files to
before-restore-TIME.

  weft restore --config litestream.yml --plan                     show the plan only
  weft restore --config litestream.yml                            the newest state
  weft restore --timestamp 2026-11-20T12:00:00Z --data /restored  point-in-time restore
  weft restore --segments                                         only missing segments

weft replica list shows the restorable times. After an interruption the same command resumes, and does not download
complete segments again. Replicate a point-in-time restore to another path: the replica already has newer
transactions.

Exit code: 0 restored, 1 not restored, 2 wrong usage.`

func restoreCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "restore",
		Usage:       "restore an index from its replica, newest or point-in-time",
		Description: restoreDescription,
		Flags: variables("WEFT_RESTORE_", append(replicaFlags(),
			&cli.StringFlag{
				Name:  "timestamp",
				Usage: "restore the last transaction before this `TIME`, e.g. 2026-11-20T12:00:00Z",
			},
			&cli.StringFlag{
				Name:  "txid",
				Usage: "restore the transaction `TXID`, in hexadecimal as in weft replica list",
			},
			&cli.BoolFlag{
				Name:  "plan",
				Usage: "dry run: print the files to read, and the disk and memory needed",
			},
			&cli.BoolFlag{
				Name:  "segments",
				Usage: "keep weft.db and restore only its missing segments; with --force also damaged ones",
			},
			&cli.BoolFlag{
				Name:  "force",
				Usage: "replace an existing index, and keep it in before-restore-TIME",
			},
		)...),
		Action: func(ctx context.Context, cmd *cli.Command) error { return runRestore(ctx, cmd, stdout, stderr) },
	}
}

// runRestore plans or restores what the flags ask for, and prints the result.
func runRestore(ctx context.Context, cmd *cli.Command, stdout, stderr io.Writer) error {
	cfg, dir, err := replicaOf(cmd)
	if err != nil {
		return err
	}
	target, err := targetOf(cmd.String("timestamp"), cmd.String("txid"))
	if err != nil {
		return &usageError{err}
	}
	if cmd.Bool("plan") {
		p, err := restore.MakePlan(ctx, cfg, dir, target)
		if err != nil {
			return fmt.Errorf("%s: %w", cfg.Where(), err)
		}
		printPlan(stdout, cfg.Where(), dir, p)
		return nil
	}
	began := time.Now()
	bar := newTransfer(stderr)
	o := restore.Options{Target: target, Force: cmd.Bool("force"), Progress: bar.tick}
	run := restore.Restore
	if cmd.Bool("segments") {
		if target != (restore.Target{}) {
			return &usageError{errors.New("--segments restores the segments of this weft.db: remove --timestamp and --txid")}
		}
		run = restore.Segments
	}
	r, err := run(ctx, cfg, dir, o)
	bar.end()
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; only complete segments are in place; run the same command to resume")
	case err != nil:
		return fmt.Errorf("%s: %w", cfg.Where(), err)
	}
	if cmd.Bool("segments") {
		printSegmentsRestored(stdout, dir, r)
		return nil
	}
	printRestored(stdout, dir, r, time.Since(began))
	return nil
}

// targetOf returns the target that the flags name.
func targetOf(timestamp, txid string) (t restore.Target, err error) {
	if timestamp != "" && txid != "" {
		return t, errors.New("--timestamp and --txid exclude each other: remove one")
	}
	if timestamp != "" {
		t.Time, err = time.Parse(time.RFC3339Nano, timestamp)
		if err != nil {
			return t, fmt.Errorf("--timestamp must be a time such as 2026-11-20T12:00:00Z, not %q", timestamp)
		}
	}
	if txid != "" {
		t.TXID, err = restore.ParseTXID(txid)
		if err != nil {
			return t, fmt.Errorf("--txid: %w", err)
		}
	}
	return t, nil
}

func printPlan(w io.Writer, where, dir string, p *restore.Plan) {
	fmt.Fprintf(w, "%s, as of transaction %s at %s\n", where, p.TXID, clock(p.Time))
	fmt.Fprintf(w, "  index %.8s…, log row %s%s\n", p.Manifest.Instance, humanize.Number(int64(p.Manifest.LastSeq)),
		logMoment(p.Manifest.LastUS))
	fmt.Fprintf(w, "\nweft.db, %s, from %s\n  %-9s %-33s %10s  %s\n", humanize.Bytes(p.DatabaseBytes),
		humanize.Count(int64(len(p.Files)),
			"file"), "level", "transactions", "bytes", "up to")
	for _, f := range p.Files {
		level := fmt.Sprint(f.Level)
		if f.Level == 9 {
			level = "snapshot"
		}
		fmt.Fprintf(w, "  %-9s %-33s %10s  %s\n", level, fmt.Sprintf("%s-%s", f.Min, f.Max), humanize.Bytes(f.Bytes),
			clock(f.Time))
	}
	fmt.Fprintf(w, "\nSegments\n")
	printStored(w, p.Segments)
	fmt.Fprintf(w, "\nRequires\n  %-10s read from the replica\n  %-10s of memory, about\n  %-10s of disk in %s",
		humanize.Bytes(p.ReadBytes), humanize.Bytes(restore.MemoryBytes), humanize.Bytes(p.DiskBytes), dir)
	switch {
	case p.FreeBytes < 0:
		fmt.Fprintf(w, ", which does not exist yet\n")
	case p.FreeBytes < p.DiskBytes:
		fmt.Fprintf(w, ", which has only %s free\n", humanize.Bytes(p.FreeBytes))
	default:
		fmt.Fprintf(w, ", which has %s free\n", humanize.Bytes(p.FreeBytes))
	}
}

func printRestored(w io.Writer, dir string, r *restore.Result, took time.Duration) {
	fmt.Fprintf(w, "restored %s: index %.8s… as of transaction %s at %s: log row %s%s\n", dir, r.Instance, r.TXID,
		clock(r.Time), humanize.Number(int64(r.LastSeq)), logMoment(r.LastUS))
	fmt.Fprintf(w, "  weft.db %s from %s; %s of %s", humanize.Bytes(r.DatabaseBytes), humanize.Count(int64(r.Files),
		"file"),
		humanize.Count(int64(r.Segments), "segment"), humanize.Bytes(r.SegmentBytes))
	if r.SegmentsHad > 0 {
		fmt.Fprintf(w, ", %d of them already there", r.SegmentsHad)
	}
	fmt.Fprintf(w, "\n  %s read in %s\n", humanize.Bytes(r.Read), humanize.Duration(took))
	for _, note := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	if r.Aside != "" {
		fmt.Fprintf(w, "  the old files are in %s: remove it when you no longer need them\n", r.Aside)
	}
}

func printSegmentsRestored(w io.Writer, dir string, r *restore.Result) {
	fmt.Fprintf(w, "%s has its %s of %s; %d were already there\n", dir, humanize.Count(int64(r.Segments), "segment"),
		humanize.Bytes(r.SegmentBytes), r.SegmentsHad)
	for _, note := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
}

// transfer shows the progress of a restore: a bar on a terminal, else a line per part and per transferLineEvery.
type transfer struct {
	w              io.Writer
	terminal       bool
	began, printed time.Time
	what           string
	drawn          bool
}

// transferLineEvery is the interval of progress lines without a terminal.
const transferLineEvery = 5 * time.Second

func newTransfer(w io.Writer) *transfer {
	return &transfer{w: w, terminal: isTerminal(w), began: time.Now()}
}

func (t *transfer) tick(p restore.Progress) {
	now := time.Now()
	part, _, _ := strings.Cut(p.What, "/") // segments/X is a segment
	begins := part != t.what
	switch {
	case t.terminal && now.Sub(t.printed) >= barEvery:
		fmt.Fprint(t.w, "\r\x1b[K", transferBar(p, now.Sub(t.began)))
		t.drawn = true
	case !t.terminal && (begins || now.Sub(t.printed) >= transferLineEvery):
		fmt.Fprintf(t.w, "%s: %s of %s\n", part, humanize.Bytes(p.Done), humanize.Bytes(p.All))
	default:
		return
	}
	t.printed = now
	t.what = part
}

// end clears the bar.
func (t *transfer) end() {
	if t.drawn {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
}

// transferBar returns one line of at most 80 columns.
func transferBar(p restore.Progress, took time.Duration) string {
	share := 0.0
	if p.All > 0 {
		share = min(float64(p.Done)/float64(p.All), 1)
	}
	const width = 20
	full := int(share * width)
	part, _, _ := strings.Cut(p.What, "/")
	return fmt.Sprintf("[%s%s] %5.1f%%  %s of %s  %s/s  %.16s", strings.Repeat("#", full), strings.Repeat(".", width-full),
		100*share, humanize.Bytes(p.Done), humanize.Bytes(p.All),
		humanize.Bytes(int64(float64(p.Done)/max(took.Seconds(), 0.001))), part)
}
