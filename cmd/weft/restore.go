package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/replica"
)

func restoreCommand(stdout, stderr io.Writer) *cli.Command {
	variable := func(name string) cli.ValueSourceChain { return cli.EnvVars("WEFT_RESTORE_" + name) }
	return &cli.Command{
		Name:  "restore",
		Usage: "bring an index back from its replica, as it is now or as of a moment",
		Description: "Brings weft.db and the segments that it names back into a data directory that no weft has open. The database is\n" +
			"written under another name, checked (SQLite's integrity check, the checksum of each file and each segment, whose\n" +
			"index it is), and only then put in its place. Nothing that is there is touched without --force, and with it all of\n" +
			"it is kept aside, in before-restore-TIME.\n\n" +
			"  weft restore --config litestream.yml --plan                     what it would take\n" +
			"  weft restore --config litestream.yml                            the newest\n" +
			"  weft restore --timestamp 2026-11-20T12:00:00Z --data /restored  as of a moment\n" +
			"  weft restore --segments                                         only segments that are missing\n\n" +
			"weft replica list says which moments there are. To be interrupted does no harm: the same command goes on, and\n" +
			"segments that are there whole aren't fetched again. An index as of the past must be replicated to another path: the\n" +
			"replica has gone on from where it is.\n\n" +
			"Exit code: 0 it is restored, 1 it isn't, 2 it was called wrongly.",
		Flags: append(replicaFlags(),
			&cli.StringFlag{
				Name: "timestamp", Sources: variable("TIMESTAMP"),
				Usage: "as of the last transaction before this `TIME`, such as 2026-11-20T12:00:00Z",
			},
			&cli.StringFlag{
				Name: "txid", Sources: variable("TXID"),
				Usage: "as of the transaction `TXID`, in hexadecimal as weft replica list has it",
			},
			&cli.BoolFlag{
				Name: "plan", Sources: variable("PLAN"),
				Usage: "only say what would be read, and how much disk and memory it needs",
			},
			&cli.BoolFlag{
				Name: "segments", Sources: variable("SEGMENTS"),
				Usage: "leave weft.db as it is, and bring back only the segments that it names and that are missing; with --force damaged ones too",
			},
			&cli.BoolFlag{
				Name: "force", Sources: variable("FORCE"),
				Usage: "restore where an index is, and keep that aside",
			},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			cfg, dir, err := replicaOf(cmd)
			if err != nil {
				return err
			}
			target, err := targetOf(cmd.String("timestamp"), cmd.String("txid"))
			if err != nil {
				return &usageError{"restore", err}
			}
			if cmd.Bool("plan") {
				p, err := replica.MakePlan(ctx, cfg, dir, target)
				if err != nil {
					return fmt.Errorf("%s: %w", cfg.Where(), err)
				}
				printPlan(stdout, cfg.Where(), dir, p)
				return nil
			}
			began := time.Now()
			bar := newTransfer(stderr)
			o := replica.RestoreOptions{Target: target, Force: cmd.Bool("force"), Progress: bar.tick}
			restore := replica.Restore
			if cmd.Bool("segments") {
				if target != (replica.Target{}) {
					return &usageError{"restore", errors.New("--segments brings back what the weft.db here names: leave the moment out")}
				}
				restore = replica.RestoreSegments
			}
			r, err := restore(ctx, cfg, dir, o)
			bar.end()
			switch {
			case ctx.Err() != nil:
				return errors.New("interrupted; nothing is in place but whole segments, and the same command goes on")
			case err != nil:
				return fmt.Errorf("%s: %w", cfg.Where(), err)
			}
			if cmd.Bool("segments") {
				printSegmentsRestored(stdout, dir, r)
				return nil
			}
			printRestored(stdout, dir, r, time.Since(began))
			return nil
		},
	}
}

// targetOf is the moment that the flags name.
func targetOf(timestamp, txid string) (t replica.Target, err error) {
	if timestamp != "" && txid != "" {
		return t, errors.New("--timestamp and --txid both say which moment: leave one out")
	}
	if timestamp != "" {
		if t.Time, err = time.Parse(time.RFC3339Nano, timestamp); err != nil {
			return t, fmt.Errorf("--timestamp is a time such as 2026-11-20T12:00:00Z, not %q", timestamp)
		}
	}
	if txid != "" {
		if t.TXID, err = replica.ParseTXID(txid); err != nil {
			return t, fmt.Errorf("--txid: %w", err)
		}
	}
	return t, nil
}

func printPlan(w io.Writer, where, dir string, p *replica.Plan) {
	fmt.Fprintf(w, "%s, as of transaction %s at %s\n", where, p.TXID, clock(p.Time))
	fmt.Fprintf(w, "  index %.8s…, log row %s%s\n", p.Manifest.Instance, thousands(int64(p.Manifest.LastSeq)), logMoment(p.Manifest.LastUS))
	fmt.Fprintf(w, "\nweft.db, %s, from %s\n  %-9s %-33s %10s  %s\n", size(p.DatabaseBytes), count(int64(len(p.Files)), "file"), "level", "transactions", "bytes", "up to")
	for _, f := range p.Files {
		level := fmt.Sprint(f.Level)
		if f.Level == 9 {
			level = "snapshot"
		}
		fmt.Fprintf(w, "  %-9s %-33s %10s  %s\n", level, fmt.Sprintf("%s-%s", f.Min, f.Max), size(f.Bytes), clock(f.Time))
	}
	fmt.Fprintf(w, "\nSegments\n")
	printStored(w, p.Segments)
	fmt.Fprintf(w, "\nIt takes\n  %-10s read from the replica\n  %-10s of memory, about\n  %-10s of disk in %s", size(p.ReadBytes), size(replica.MemoryBytes), size(p.DiskBytes), dir)
	switch {
	case p.FreeBytes < 0:
		fmt.Fprintf(w, ", which is not there yet\n")
	case p.FreeBytes < p.DiskBytes:
		fmt.Fprintf(w, ", which has only %s free\n", size(p.FreeBytes))
	default:
		fmt.Fprintf(w, ", which has %s free\n", size(p.FreeBytes))
	}
}

func printRestored(w io.Writer, dir string, r *replica.Restored, took time.Duration) {
	fmt.Fprintf(w, "%s has the index %.8s… as of transaction %s at %s: log row %s%s\n", dir, r.Instance, r.TXID, clock(r.Time), thousands(int64(r.LastSeq)), logMoment(r.LastUS))
	fmt.Fprintf(w, "  weft.db %s from %s; %s of %s", size(r.DatabaseBytes), count(int64(r.Files), "file"), count(int64(r.Segments), "segment"), size(r.SegmentBytes))
	if r.SegmentsHad > 0 {
		fmt.Fprintf(w, ", of which %d were there", r.SegmentsHad)
	}
	fmt.Fprintf(w, "\n  %s read in %s\n", size(r.Read), took.Round(time.Millisecond))
	for _, note := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	if r.Aside != "" {
		fmt.Fprintf(w, "  what was there is in %s: remove it when this one is what you want\n", r.Aside)
	}
}

func printSegmentsRestored(w io.Writer, dir string, r *replica.Restored) {
	fmt.Fprintf(w, "%s has its %s of %s; %d were there\n", dir, count(int64(r.Segments), "segment"), size(r.SegmentBytes), r.SegmentsHad)
	for _, note := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
}

// transfer shows how far a restore is: a bar on a terminal, else a line when another part begins and now and then.
type transfer struct {
	w           io.Writer
	terminal    bool
	began, told time.Time
	what        string
	drawn       bool
}

// transferLineEvery is how often a line is printed where nobody looks at a bar.
const transferLineEvery = 5 * time.Second

func newTransfer(w io.Writer) *transfer {
	return &transfer{w: w, terminal: isTerminal(w), began: time.Now()}
}

func (t *transfer) tick(p replica.Progress) {
	now := time.Now()
	part, _, _ := strings.Cut(p.What, "/") // segments/X is one of the segments
	begins := part != t.what
	switch {
	case t.terminal && now.Sub(t.told) >= barEvery:
		fmt.Fprint(t.w, "\r\x1b[K", transferBar(p, now.Sub(t.began)))
		t.drawn = true
	case !t.terminal && (begins || now.Sub(t.told) >= transferLineEvery):
		fmt.Fprintf(t.w, "%s: %s of %s\n", part, size(p.Done), size(p.All))
	default:
		return
	}
	t.told, t.what = now, part
}

// end clears the bar.
func (t *transfer) end() {
	if t.drawn {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
}

// transferBar is one line of at most 80 columns.
func transferBar(p replica.Progress, took time.Duration) string {
	share := 0.0
	if p.All > 0 {
		share = min(float64(p.Done)/float64(p.All), 1)
	}
	const width = 20
	full := int(share * width)
	part, _, _ := strings.Cut(p.What, "/")
	return fmt.Sprintf("[%s%s] %5.1f%%  %s of %s  %s/s  %.16s", strings.Repeat("#", full), strings.Repeat(".", width-full),
		100*share, size(p.Done), size(p.All), size(int64(float64(p.Done)/max(took.Seconds(), 0.001))), part)
}
