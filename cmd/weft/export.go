package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/export"
	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

const exportDescription = `
Reads a data directory, also while a weft writes it: the links as of the moment at which it begins. It changes nothing.
A row is a link:

  did, collection, rkey   the record that contains the link: at://did/collection/rkey
  path                    the link's path in the record, without the leading dot: subject.uri
  target                  the link's target, normalised as everywhere in weft
  time                    the link's position in lists: the record key's time if plausible, else the event's time
  status                  of the account: active, or with --inactive deactivated, suspended, takendown, inactive
  cid, record             with --bodies: the record's CID and its content, as JSON of the atproto data model

Rows are the links that queries return. An unfinished change of an account's status counts as finished. Rows are in
order of the account (as the index first saw it), collection and record key. This order never changes, so --from and
--to always select the same records.

--bodies adds the content that weft serve --bodies stored, to each row of a record: a record with five links appears
five times. Where the content is not stored, JSON lines omit cid and record, and Parquet has nulls. Where a record
does not fit the data model, e.g. because it has a float, only record is left out. Without --bodies, neither column
exists.

Without --out, JSON lines go to standard output:

  weft export | jq -r .target | sort | uniq -c | sort -rn | head

If it is interrupted, it prints the --from to resume with. With --out, it writes files of --part-links links to a
directory, links-00001.ndjson.zst or .parquet and so on, and _export.json, which lists each file with its first and
last record, size and SHA-256. A file is written atomically. After an interruption, the same command resumes after the
last file, if the index has not changed:

  weft export --format parquet --out links

A running weft changes the index: beside it, an interrupted --out begins again in a new directory.

Exit code: 0 export complete, 1 failed or interrupted, 2 wrong usage.`

// defaultPartLinks makes parts of some hundred MB. After an interruption, a part takes half a minute to write again.
const defaultPartLinks = 5_000_000

// defaultFormat is the format that standard output can take.
const defaultFormat = "ndjson"

func exportCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "export",
		Usage:       "export all links as JSON lines or Parquet",
		Description: exportDescription,
		Flags: variables("WEFT_EXPORT_",
			dataFlag(),
			&cli.StringFlag{
				Name: "format", Value: defaultFormat,
				Usage: strings.Join(formatNames(anyFormat), " or ") + "; " + strings.Join(formatNames(needsOut), " and ") +
					" needs --out",
			},
			&cli.StringFlag{
				Name: "out",
				Usage: "write files to this `DIRECTORY`: a new or empty one, or an interrupted export to resume; ndjson is " +
					"compressed with zstd",
			},
			&cli.Int64Flag{
				Name: "part-links", Value: defaultPartLinks,
				Usage: "at most `N` links per file; links of one record stay together",
			},
			&cli.StringFlag{
				Name:  "from",
				Usage: "start at this DID or `AT-URI` (account, collection of an account, or record)",
			},
			&cli.StringFlag{
				Name:  "to",
				Usage: "end before this `AT-URI` or DID",
			},
			&cli.StringSliceFlag{
				Name:  "collection",
				Usage: "only links from records of this collection (`NSID`); repeatable",
			},
			&cli.BoolFlag{
				Name:  "inactive",
				Usage: "also export links of inactive accounts, which queries hide; links of deleted accounts no longer exist",
			},
			&cli.BoolFlag{
				Name:  "bodies",
				Usage: "also export the content of each record, if weft serve --bodies stored it; repeated for each link",
			},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			x, err := newExport(cmd)
			if err != nil {
				return err
			}
			return x.run(ctx, stdout, stderr)
		},
	}
}

// exportRun is an export with its options.
type exportRun struct {
	data, format, out string
	partLinks         int64
	options           export.Options
	step              func(name string) error // as in exportDir
}

func newExport(cmd *cli.Command) (*exportRun, error) {
	if err := noArgs(cmd); err != nil {
		return nil, err
	}
	x := &exportRun{data: cmd.String("data"), format: cmd.String("format"), out: cmd.String("out"),
		partLinks: cmd.Int64("part-links"),
		options: export.Options{Collections: cmd.StringSlice("collection"), Inactive: cmd.Bool("inactive"),
			Bodies: cmd.Bool("bodies")}}
	wrong := func(format string, args ...any) (*exportRun, error) {
		return nil, &usageError{fmt.Errorf(format, args...)}
	}
	format, ok := formats[x.format]
	if !ok {
		return wrong("--format must be %s, not %q", strings.Join(formatNames(anyFormat), " or "), x.format)
	}
	switch {
	case x.out == "" && needsOut(format):
		return wrong("--format %s needs --out", x.format)
	case x.out == "" && cmd.IsSet("part-links"):
		return wrong("--part-links needs --out")
	case x.partLinks < 1:
		return wrong("--part-links must be 1 or more")
	}
	for name, into := range map[string]*string{"from": &x.options.From, "to": &x.options.To} {
		if !cmd.IsSet(name) {
			continue
		}
		uri, kind := link.Parse(cmd.String(name))
		if _, _, _, ok := link.SplitRecord(uri); kind != link.DID && !ok {
			return wrong("--%s must be a DID or an at-uri with a DID, such as at://did:plc:…/app.bsky.feed.like, not %q", name,
				cmd.String(name))
		}
		*into = uri
	}
	for _, nsid := range x.options.Collections {
		if !link.ValidNSID(nsid) {
			return wrong("--collection must be an NSID, such as app.bsky.feed.like, not %q", nsid)
		}
	}
	return x, nil
}

func (x *exportRun) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	e, err := export.Open(ctx, x.data, x.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if e.BodiesFrom > e.LogSeq {
		fmt.Fprintln(stderr, "weft export: this index has no record content (weft serve --bodies stores it): cid and "+
			"record are left out")
	}
	p := &exportProgress{w: stderr, e: e, shown: isTerminal(stderr), began: time.Now()}
	if x.out == "" {
		return x.stream(ctx, e, stdout, p)
	}
	d := &exportDir{dir: x.out, partLinks: x.partLinks, step: x.step, list: exportList{
		Version: exportVersion, Format: x.format, Instance: e.Instance, LogSeq: e.LogSeq, LogTime: logTime(e.LogUS),
		From: x.options.From, To: x.options.To, Collections: append([]string{}, x.options.Collections...),
		Inactive:   x.options.Inactive,
		BodiesFrom: e.BodiesFrom, Parts: []exportPart{}}}
	if err := d.open(); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	had := len(d.list.Parts)
	whole := d.list.Complete
	if !whole {
		p.had = d.list.Links
		err = d.write(ctx, e, p.tick)
		p.end()
	}
	resume := "run the same command to resume"
	if e.Changes {
		resume = "the running weft changes the index: begin again with a new directory for --out"
	}
	have := fmt.Sprintf("%s of %s in %s", humanize.Count(d.list.Links, "link"), humanize.Count(d.list.Records, "record"),
		humanize.Count(int64(len(d.list.Parts)), "part"))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; %s has %s; %s", x.out, have, resume)
	case err != nil:
		return fmt.Errorf("export: %w; %s has %s; %s", err, x.out, have, resume)
	case whole:
		fmt.Fprintf(stdout, "%s already has the complete export: ", x.out)
	default:
		fmt.Fprintf(stdout, "%s has ", x.out)
	}
	bytes := int64(0)
	for _, part := range d.list.Parts {
		bytes += part.Bytes
	}
	fmt.Fprintf(stdout, "%s, %s, as of log row %s", have, humanize.Bytes(bytes), humanize.Number(int64(d.list.LogSeq)))
	if d.list.LogTime != "" {
		fmt.Fprintf(stdout, " at %s", d.list.LogTime)
	}
	if had > 0 && !whole {
		fmt.Fprintf(stdout, "; %s existed before", humanize.Count(int64(had), "part"))
	}
	fmt.Fprintln(stdout)
	return nil
}

// stream writes JSON lines. An error or an interrupt names the record to resume from.
func (x *exportRun) stream(ctx context.Context, e *export.Export, stdout io.Writer, p *exportProgress) error {
	w := &ndjsonWriter{w: stdout}
	var links int64
	fail := func(err error) error {
		return fmt.Errorf("export: %w; the output is complete before %s and may be truncated after it: cut it there, and "+
			"resume with --from %s", err, w.first, w.first)
	}
	var walk error
	for r, err := range e.Records(ctx, "") {
		if err != nil {
			walk = err
			break
		}
		if err := w.write(r); err != nil {
			return fail(err)
		}
		links += int64(len(r.Links))
		if err := p.tick(links); err != nil {
			return err
		}
	}
	if err := w.close(); err != nil {
		return fail(err)
	}
	p.end()
	if walk == nil {
		return nil
	}
	next, err := e.Next(context.WithoutCancel(ctx))
	switch {
	case err != nil || next == "":
		return errors.Join(walk, err)
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted after %s; resume with --from %s", humanize.Count(links, "link"), next)
	}
	return fmt.Errorf("%w; the output is complete before %s", walk, next)
}

// progressEvery is the interval of progress updates: often enough to look alive.
const progressEvery = 500 * time.Millisecond

// exportProgress is the progress line of an export on a terminal.
type exportProgress struct {
	w            io.Writer
	e            *export.Export
	shown        bool
	had          int64 // links of an earlier run
	calls        int
	began, drawn time.Time
}

// tick updates the line; links is the number exported so far.
func (p *exportProgress) tick(links int64) error {
	p.calls++
	if !p.shown || p.calls%1024 != 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(p.drawn) < progressEvery {
		return nil
	}
	p.drawn = now
	share, err := p.e.Share()
	if err != nil {
		return err
	}
	fmt.Fprintf(p.w, "\r%s links, %s/s, %.0f %% \x1b[K", humanize.Number(links),
		humanize.Number(int64(float64(links-p.had)/now.Sub(p.began).Seconds())), 100*share)
	return nil
}

// end clears the line.
func (p *exportProgress) end() {
	if p.shown && !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	if p, ok := w.(*pipeWriter); ok {
		w = p.to
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
