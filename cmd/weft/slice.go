package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/humanize"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// sliceFlags choose the part of the network that an index holds.
func sliceFlags() []cli.Flag {
	return variables("WEFT_",
		&cli.StringSliceFlag{
			Name:  "collections",
			Usage: "index only these `COLLECTIONS`, e.g. app.bsky.feed.like, or app.bsky.graph.* for a prefix",
		},
		&cli.StringSliceFlag{
			Name:  "exclude-collections",
			Usage: "do not index these `COLLECTIONS`",
		},
		&cli.StringSliceFlag{
			Name:  "dids",
			Usage: "index only records of these `DIDS`; @FILE reads them from a file, one per line, and again when it changes",
		},
		&cli.StringSliceFlag{
			Name:  "sources",
			Usage: "index only links of these `SOURCES`, e.g. app.bsky.feed.like:subject.uri",
		},
		&cli.StringSliceFlag{
			Name: "subjects",
			Usage: "index only links to these `SUBJECTS`: DIDs (with the account's records), at-uris (with all below them) " +
				"and web hosts (example.org, or *.example.org for all below it); @FILE reads them from a file, one per line, " +
				"and again when the file changes or weft gets SIGHUP",
		},
		&cli.StringFlag{
			Name: "change-slice",
			Usage: "change the slice of an existing index: now (new parts are complete from now on, removed parts stay as " +
				"they are), optionally with +backfill (read new parts from the archive) and +purge (delete removed parts); a " +
				"changed @FILE needs no flag, and does both",
		},
	)
}

// sliceOf reads the flags, and the filters in the addresses of upstreams, which are equivalent to --collections and
// --dids.
func sliceOf(cmd *cli.Command, upstreams []upstream.Address) (c ingest.SliceConfig, s *ingest.Slice, err error) {
	c = ingest.SliceConfig{Collections: cmd.StringSlice("collections"), Exclude: cmd.StringSlice("exclude-collections"),
		Sources: cmd.StringSlice("sources")}
	c.DIDs, err = readList(cmd, "dids")
	if err != nil {
		return c, nil, err
	}
	c.Subjects, err = readList(cmd, "subjects")
	if err != nil {
		return c, nil, err
	}
	c.Subjects, err = ingest.NormalSubjects(c.Subjects)
	if err != nil {
		return c, nil, &usageError{fmt.Errorf("--subjects: %w", err)}
	}
	for _, u := range upstreams {
		if err := addFilters(&c, u); err != nil {
			return c, nil, &usageError{err}
		}
	}
	s, err = ingest.NewSlice(c)
	if err != nil {
		return c, nil, &usageError{fmt.Errorf("--collections, --exclude-collections, --dids or --sources: %w", err)}
	}
	return c, s, nil
}

// readList returns the entries of a flag, with those of its files. A file without an entry is an error, because an
// empty list selects everything.
func readList(cmd *cli.Command, flag string) (list []string, err error) {
	for _, entry := range cmd.StringSlice(flag) {
		name, isFile := strings.CutPrefix(entry, "@")
		if !isFile {
			list = append(list, entry)
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		before := len(list)
		for line := range strings.Lines(string(text)) {
			// An at-uri has no fragment here, so that # begins a comment.
			line, _, _ = strings.Cut(line, "#")
			line = strings.TrimSpace(line)
			if line != "" {
				list = append(list, line)
			}
		}
		if len(list) == before {
			return nil, fmt.Errorf("--%s: %s has no entry; remove the flag to index everything", flag, name)
		}
	}
	return list, nil
}

// addFilters adds the filters of an upstream's address to the slice. They must agree with the other addresses and the
// flags.
func addFilters(c *ingest.SliceConfig, u upstream.Address) error {
	for _, part := range []struct {
		flag string
		have *[]string
		want []string
	}{{"--collections", &c.Collections, u.Filter.Collections}, {"--dids", &c.DIDs, u.Filter.DIDs}} {
		if len(part.want) == 0 {
			continue
		}
		have := slices.Sorted(slices.Values(*part.have))
		if len(have) > 0 && !slices.Equal(slices.Compact(have), part.want) {
			return fmt.Errorf("--jetstream: the address of %s selects differently than %s or another address: use %s alone",
				u.URL, part.flag, part.flag)
		}
		*part.have = part.want
	}
	return nil
}

// warnOfGroups warns of collections that are namespaces, which no record has.
func warnOfGroups(logger *slog.Logger, c ingest.SliceConfig) {
	for _, part := range []struct {
		flag string
		list []string
	}{{"--collections", c.Collections}, {"--exclude-collections", c.Exclude}} {
		for _, name := range part.list {
			if ingest.IsGroup(name) {
				logger.Warn("no record has this collection: it is a namespace", "flag", part.flag, "collection", name,
					"do", "did you mean "+part.flag+" "+name+".*?")
			}
		}
	}
}

// sliceChange is the parsed --change-slice.
type sliceChange struct{ allowed, backfill, purge bool }

func parseSliceChange(text string) (c sliceChange, err error) {
	if text == "" {
		return c, nil
	}
	for _, word := range strings.Split(text, "+") {
		switch word {
		case "now":
		case "backfill":
			c.backfill = true
		case "purge":
			c.purge = true
		default:
			return c, fmt.Errorf("%q is not now, backfill or purge", word)
		}
		c.allowed = true
	}
	return c, nil
}

// applySlice changes the index to the slice of the flags, or returns an error if that needs --change-slice.
func (w *writer) applySlice(ctx context.Context) error {
	text, err := w.store.Slice(ctx)
	if err != nil {
		return err
	}
	was, err := ingest.ParseSliceState(text)
	if err != nil {
		return err
	}
	w.sliceState.Store(&was)
	next, more, less := was.Change(w.slice, time.Now())
	stats, err := w.store.Stats(ctx)
	if err != nil {
		return err
	}
	change := w.change
	switch {
	case !more && !less:
		return w.finishSlice(ctx, next)
	case stats.Records == 0 && stats.Links == 0: // it begins again, so that all parts have the same beginning
		if err := w.store.Forget(); err != nil {
			return err
		}
		begun, _, _ := ingest.SliceState{}.Change(w.slice, time.Now())
		return w.storeSlice(begun)
	case !change.allowed && w.files.explain(was.Slice, w.slice):
		change = w.fileChange(ctx, more)
	case !change.allowed:
		return fmt.Errorf("%s holds a different slice of the network than the flags select: %s; use the flags of that "+
			"slice, or change the slice with --change-slice now, now+backfill, now+purge or now+backfill+purge",
			w.db.Dir, describeSlice(was.Slice))
	}
	w.logger.Warn("changing the slice", "from", describeSlice(was.Slice), "to", describeSlice(w.slice), "holds_more", more,
		"holds_less", less)
	if more && change.backfill {
		next, err = w.backfillSlice(next)
		if err != nil {
			return err
		}
	}
	next.Purging = next.Purging || less && change.purge
	return w.storeAndPurge(ctx, next)
}

// finishSlice resumes an unfinished change of an unchanged slice: a purge that a crash interrupted and, with
// --change-slice now+backfill, a backfill that an earlier change left out.
func (w *writer) finishSlice(ctx context.Context, s ingest.SliceState) (err error) {
	if w.change.backfill && s.Incomplete() && len(s.Backfill) == 0 {
		s, err = w.backfillSlice(s)
		if err != nil {
			return err
		}
	}
	return w.storeAndPurge(ctx, s)
}

// storeAndPurge stores a state, and if the state has a purge, removes the links outside the slice. On an almost full
// disk the purge stays in the state, and awaitChange or the next start tries again.
func (w *writer) storeAndPurge(ctx context.Context, s ingest.SliceState) error {
	err := w.storeSlice(s)
	if err != nil || !s.Purging {
		return err
	}
	removed, err := w.store.Purge(ctx, w.filter.KeepsLink)
	if errors.Is(err, db.ErrPaused) {
		w.logger.Warn("links outside the slice are removed later, by themselves", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	w.logger.Info("removed links outside the slice", "links", removed)
	s.Purging = false
	return w.storeSlice(s)
}

// storeSlice stores a state and then publishes it.
func (w *writer) storeSlice(s ingest.SliceState) error {
	was := w.sliceState.Swap(&s)
	if was.String() == s.String() {
		return nil
	}
	return w.store.SetSlice(s.String())
}

// backfillSlice records the new parts of the slice as a gap, which an archive fills.
func (w *writer) backfillSlice(s ingest.SliceState) (ingest.SliceState, error) {
	host, to, ok := w.archived()
	if !ok {
		return s, errors.New("--change-slice backfill needs a v2 upstream that this index has followed; with now, new " +
			"parts are complete from now on")
	}
	return s.AddBackfill(host, to), w.store.AddGap(db.Gap{Host: host, From: 1, To: to, Why: "the slice was widened"})
}

// archived returns an upstream that may have an archive, and the position up to which the index followed it.
func (w *writer) archived() (host string, to uint64, ok bool) {
	for _, up := range w.store.Upstreams() {
		if up.Kind == upstream.KindV2 && up.Seq > 0 {
			return up.Host, uint64(up.Seq), true
		}
	}
	return "", 0, false
}

func describeSlice(c ingest.SliceConfig) string {
	var parts []string
	for _, p := range []struct {
		name string
		list []string
	}{{"collections", c.Collections}, {"without", c.Exclude}, {"sources", c.Sources}} {
		if len(p.list) > 0 {
			parts = append(parts, p.name+" "+strings.Join(p.list, ", "))
		}
	}
	if n := len(c.DIDs); n > 0 {
		parts = append(parts, humanize.Count(int64(n), "account"))
	}
	if n := len(c.Subjects); n > 0 {
		parts = append(parts, "links to "+humanize.Count(int64(n), "subject"))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, "; ")
}
