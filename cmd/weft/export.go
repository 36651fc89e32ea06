package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// defaultPartLinks makes parts of some hundred MB, which take half a minute to make again after an interruption.
const defaultPartLinks = 5_000_000

func exportCommand(stdout, stderr io.Writer) *cli.Command {
	variable := func(name string) cli.ValueSourceChain { return cli.EnvVars("WEFT_EXPORT_" + name) }
	return &cli.Command{
		Name:  "export",
		Usage: "write every link out, as JSON lines or Parquet, to take elsewhere",
		Description: "Reads a data directory that no weft has open, and changes nothing in it. A row is a link:\n\n" +
			"  did, collection, rkey   the record that links: at://did/collection/rkey\n" +
			"  path                    where in the record, without the leading dot: subject.uri\n" +
			"  target                  what it links to, normalised as everywhere in weft\n" +
			"  time                    where it stands in lists: the record key's time where that is plausible, else the event's\n" +
			"  status                  of the account: active, or with --inactive deactivated, suspended, takendown, inactive\n" +
			"  cid, record             with --bodies: the record's CID, and what it holds, as JSON of the atproto data model\n\n" +
			"The links are those that queries show. A change of an account's status that was under way counts as done. Rows\n" +
			"come by account, in the order in which the index first saw them, then by collection and record key; that order\n" +
			"stays, whatever comes later, so that --from and --to always bound the same records.\n\n" +
			"--bodies adds what weft serve --bodies keeps, in each row of a record: one with five links comes five times. Where\n" +
			"it isn't kept, JSON lines lack cid and record, and in Parquet they are null; where a record can't be said in the\n" +
			"data model, for it has a float, say, record alone. Without --bodies, neither is there at all.\n\n" +
			"Without --out, JSON lines go to standard output:\n\n" +
			"  weft export | jq -r .target | sort | uniq -c | sort -rn | head\n\n" +
			"If that is interrupted, the --from to go on with is printed. With --out, files of --part-links links are\n" +
			"written to a directory, links-00001.ndjson.zst or .parquet and so on, and _export.json, which lists them with\n" +
			"their first and last record, size and SHA-256. A file is there whole or not at all. After an interruption the\n" +
			"same command goes on behind the last one, if the index has not changed:\n\n" +
			"  weft export --format parquet --out links\n\n" +
			"weft serve may not run on the same directory meanwhile: stop it, or export from a copy that was restored.\n\n" +
			"Exit code: 0 all is exported, 1 it failed or was interrupted, 2 it was called wrongly.",
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{
				Name: "format", Sources: variable("FORMAT"), Value: "ndjson",
				Usage: "ndjson or parquet, which needs --out",
			},
			&cli.StringFlag{
				Name: "out", Sources: variable("OUT"),
				Usage: "write files to this `DIRECTORY`, new, empty or of an export to go on with; ndjson is compressed with zstd there",
			},
			&cli.Int64Flag{
				Name: "part-links", Sources: variable("PART_LINKS"), Value: defaultPartLinks,
				Usage: "at most `N` links to a file; a record's links are not parted",
			},
			&cli.StringFlag{
				Name: "from", Sources: variable("FROM"),
				Usage: "begin at this DID, account, collection of an account or record (`AT-URI`)",
			},
			&cli.StringFlag{
				Name: "to", Sources: variable("TO"),
				Usage: "end before this `AT-URI` or DID",
			},
			&cli.StringSliceFlag{
				Name: "collection", Sources: variable("COLLECTION"),
				Usage: "only links from records of this `NSID`; may be given several times",
			},
			&cli.BoolFlag{
				Name: "inactive", Sources: variable("INACTIVE"),
				Usage: "links of accounts that are not active too, which queries don't show; those of deleted accounts are gone",
			},
			&cli.BoolFlag{
				Name: "bodies", Sources: variable("BODIES"),
				Usage: "the records themselves too, where weft serve --bodies keeps them: with each of their links",
			},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			x, err := newExport(cmd)
			if err != nil {
				return err
			}
			return x.run(ctx, stdout, stderr)
		},
	}
}

// export is an export as it was asked for.
type export struct {
	data, format, out string
	partLinks         int64
	options           db.ExportOptions
	step              func(name string) error // exportDir's
}

func newExport(cmd *cli.Command) (*export, error) {
	if err := noArgs(cmd); err != nil {
		return nil, err
	}
	x := &export{data: cmd.String("data"), format: cmd.String("format"), out: cmd.String("out"), partLinks: cmd.Int64("part-links"),
		options: db.ExportOptions{Collections: cmd.StringSlice("collection"), Inactive: cmd.Bool("inactive"), Bodies: cmd.Bool("bodies")}}
	wrong := func(format string, args ...any) (*export, error) {
		return nil, &usageError{"export", fmt.Errorf(format, args...)}
	}
	if _, ok := formats[x.format]; !ok {
		return wrong("--format is ndjson or parquet, not %q", x.format)
	}
	switch {
	case x.out == "" && x.format == "parquet":
		return wrong("--format parquet makes files: say with --out where")
	case x.out == "" && cmd.IsSet("part-links"):
		return wrong("--part-links is for the files of --out, which is not given")
	case x.partLinks < 1:
		return wrong("--part-links is 1 or more")
	}
	for name, into := range map[string]*string{"from": &x.options.From, "to": &x.options.To} {
		if !cmd.IsSet(name) {
			continue
		}
		uri, kind := link.Parse(cmd.String(name))
		if _, _, _, ok := link.SplitRecord(uri); kind != link.DID && !ok {
			return wrong("--%s is a DID or an at-uri with one, such as at://did:plc:…/app.bsky.feed.like, not %q", name, cmd.String(name))
		}
		*into = uri
	}
	for _, nsid := range x.options.Collections {
		if !link.ValidNSID(nsid) {
			return wrong("--collection is an NSID, such as app.bsky.feed.like, not %q", nsid)
		}
	}
	return x, nil
}

func (x *export) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	e, err := db.OpenExport(ctx, x.data, x.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if e.BodiesFrom > e.LogSeq {
		fmt.Fprintln(stderr, "weft export: this index keeps no records (weft serve --bodies does): no link comes with cid and record")
	}
	p := &exportProgress{w: stderr, e: e, shown: isTerminal(stderr), began: time.Now()}
	if x.out == "" {
		return x.stream(ctx, e, stdout, p)
	}
	d := &exportDir{dir: x.out, partLinks: x.partLinks, step: x.step, list: exportList{
		Version: exportVersion, Format: x.format, Instance: e.Instance, LogSeq: e.LogSeq, LogTime: logTime(e.LogUS),
		From: x.options.From, To: x.options.To, Collections: append([]string{}, x.options.Collections...), Inactive: x.options.Inactive,
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
	have := fmt.Sprintf("%s of %s in %s", count(d.list.Links, "link"), count(d.list.Records, "record"), count(int64(len(d.list.Parts)), "part"))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; %s has %s: the same command goes on behind them", x.out, have)
	case err != nil:
		return fmt.Errorf("export: %w; %s has %s: the same command goes on behind them", err, x.out, have)
	case whole:
		fmt.Fprintf(stdout, "%s has all of the export already: ", x.out)
	default:
		fmt.Fprintf(stdout, "%s has ", x.out)
	}
	bytes := int64(0)
	for _, part := range d.list.Parts {
		bytes += part.Bytes
	}
	fmt.Fprintf(stdout, "%s, %s, as of log row %s", have, size(bytes), thousands(int64(d.list.LogSeq)))
	if d.list.LogTime != "" {
		fmt.Fprintf(stdout, " at %s", d.list.LogTime)
	}
	if had > 0 && !whole {
		fmt.Fprintf(stdout, "; %s were there before", count(int64(had), "part"))
	}
	fmt.Fprintln(stdout)
	return nil
}

// stream writes JSON lines. When it ends early, it says where to go on.
func (x *export) stream(ctx context.Context, e *db.Export, stdout io.Writer, p *exportProgress) error {
	w := &ndjsonWriter{w: stdout}
	var links int64
	fail := func(err error) error {
		return fmt.Errorf("export: %w; all before %s is written, what follows may be cut off: cut the output there, and go on with --from %s", err, w.first, w.first)
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
		return fmt.Errorf("interrupted after %s; go on with --from %s", count(links, "link"), next)
	}
	return fmt.Errorf("%w; all before %s is written", walk, next)
}

// progressEvery is how often progress is printed: often enough to be seen to move.
const progressEvery = 500 * time.Millisecond

// exportProgress is a line on a terminal that says how far an export is.
type exportProgress struct {
	w           io.Writer
	e           *db.Export
	shown       bool
	had         int64 // links that were exported before
	calls       int
	began, told time.Time
}

// tick is told now and then how many links are exported.
func (p *exportProgress) tick(links int64) error {
	if p.calls++; !p.shown || p.calls%1024 != 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(p.told) < progressEvery {
		return nil
	}
	p.told = now
	share, err := p.e.Share()
	if err != nil {
		return err
	}
	fmt.Fprintf(p.w, "\r%s links, %s/s, %.0f %% \x1b[K", thousands(links), thousands(int64(float64(links-p.had)/now.Sub(p.began).Seconds())), 100*share)
	return nil
}

// end clears the line.
func (p *exportProgress) end() {
	if p.shown && !p.told.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// isTerminal says whether someone may be looking.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
