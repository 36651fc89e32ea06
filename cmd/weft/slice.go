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
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
	"weft.dev/weft/web/humanize"
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
			Usage: "index only records of these `DIDS`; @FILE reads them from a file, one per line",
		},
		&cli.StringSliceFlag{
			Name:  "sources",
			Usage: "index only links of these `SOURCES`, e.g. app.bsky.feed.like:subject.uri",
		},
		&cli.StringFlag{
			Name: "change-slice",
			Usage: "change the slice of an existing index: now (new parts are complete from now on, removed parts stay as " +
				"they are), optionally with +backfill (read new parts from the archive) and +purge (delete removed parts)",
		},
	)
}

// sliceOf reads the flags, and the filters in the addresses of upstreams, which choose as --collections and --dids do.
func sliceOf(cmd *cli.Command, upstreams []upstream.Address) (c ingest.SliceConfig, s *ingest.Slice, err error) {
	c = ingest.SliceConfig{Collections: cmd.StringSlice("collections"), Exclude: cmd.StringSlice("exclude-collections"),
		Sources: cmd.StringSlice("sources")}
	for _, did := range cmd.StringSlice("dids") {
		name, isFile := strings.CutPrefix(did, "@")
		if !isFile {
			c.DIDs = append(c.DIDs, did)
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return c, nil, fmt.Errorf("--dids: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if strings.TrimSpace(line) != "" {
				c.DIDs = append(c.DIDs, strings.TrimSpace(line))
			}
		}
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

// addFilters makes the filters of an upstream's address the slice. All addresses, and the flags, must choose the same.
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

// warnOfGroups warns of collections that name a group of record types, and no record has.
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

// sliceChange is what --change-slice says.
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

// applySlice brings the index to the slice that the flags name, or refuses when it holds another.
func (w *writer) applySlice(ctx context.Context) error {
	text, err := w.store.Slice(ctx)
	if err != nil {
		return err
	}
	was, err := ingest.ParseSliceState(text)
	if err != nil {
		return err
	}
	next, more, less := was.Change(w.slice, time.Now())
	stats, err := w.store.Stats(ctx)
	if err != nil {
		return err
	}
	switch {
	case !more && !less:
		w.sliceState = next
		if next.String() == text {
			return nil
		}
		return w.store.SetSlice(next.String())
	case stats.Records == 0 && stats.Links == 0: // it begins anew, so that all parts have the same beginning
		if err := w.store.Forget(); err != nil {
			return err
		}
		w.sliceState, _, _ = ingest.SliceState{}.Change(w.slice, time.Now())
		return w.store.SetSlice(w.sliceState.String())
	case !w.change.allowed:
		return fmt.Errorf("%s holds a different slice of the network than the flags select: %s; use the flags of that "+
			"slice, or change the slice with --change-slice now, now+backfill, now+purge or now+backfill+purge",
			w.db.Dir, describeSlice(was.Slice))
	}
	w.logger.Warn("changing the slice", "from", describeSlice(was.Slice), "to", describeSlice(w.slice), "holds_more", more,
		"holds_less", less)
	if less && w.change.purge {
		removed, err := w.store.Purge(ctx, w.filter.KeepsLink)
		if err != nil {
			return err
		}
		w.logger.Info("removed links outside the slice", "links", removed)
	}
	if more && w.change.backfill {
		if err := w.backfillSlice(); err != nil {
			return err
		}
	}
	w.sliceState = next
	return w.store.SetSlice(next.String())
}

// backfillSlice makes what the index didn't hold a gap, which an archive fills.
func (w *writer) backfillSlice() error {
	ups := w.store.Upstreams()
	for _, up := range ups {
		if up.Kind == "v2" && up.Seq > 0 {
			return w.store.AddGap(db.Gap{Host: up.Host, From: 1, To: uint64(up.Seq), Why: "the slice was widened"})
		}
	}
	return errors.New("--change-slice backfill needs a v2 upstream that this index has followed; with now, new parts " +
		"are complete from now on")
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
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, "; ")
}
