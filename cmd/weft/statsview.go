package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/inspect"
	"weft.dev/weft/humanize"
)

// printStats prints an inspection in 80 columns.
func printStats(w io.Writer, in *inspect.Report) {
	bytes := int64(0)
	for _, segment := range in.Segments {
		bytes = bytes + segment.Bytes
	}
	fmt.Fprintf(w, "%s of %s, %s on disk\n", humanize.Count(in.Links, "link"), humanize.Count(in.Records, "record"),
		humanize.Bytes(bytes+in.File.Bytes+in.File.WAL))
	if in.Uncounted > 0 {
		fmt.Fprintf(w, "  without %s that cannot be replayed: weft check says why\n", humanize.Count(in.Uncounted, "log row"))
	}
	fmt.Fprintf(w, "Index %.8s…", in.Instance)
	if in.StartedUS != 0 {
		fmt.Fprintf(w, ", events since %s", utc(in.StartedUS))
	}
	fmt.Fprintf(w, "\n%s, %s\n", humanize.Count(int64(len(in.Segments)), "segment"), humanize.Bytes(bytes))
	if len(in.Segments) > 0 {
		printSegments(w, in.Segments)
		printSpace(w, in.Segments)
	}

	fmt.Fprintf(w, "\nLog\n")
	if in.Log.Newest == 0 {
		fmt.Fprintf(w, "  empty\n")
	} else {
		fmt.Fprintf(w, "  %s, %d to %d, with %s\n", humanize.Count(int64(in.Log.Newest-in.Log.Oldest+1), "row"),
			in.Log.Oldest,
			in.Log.Newest, humanize.Count(in.Log.Links, "link"))
		fmt.Fprintf(w, "  from %s to %s, %s of upstream time\n", utc(in.Log.OldestUS), utc(in.Log.NewestUS),
			humanize.Duration(time.Duration(in.Log.NewestUS-in.Log.OldestUS)*time.Microsecond))
	}
	for _, u := range in.Upstreams {
		fmt.Fprintf(w, "  upstream %s (%s)\n    at %d, %s\n", u.Host, u.Kind, u.Seq, utc(u.TimeUS))
	}

	printBodies(w, &in.Bodies)

	fmt.Fprintf(w, "\nweft.db\n")
	fmt.Fprintf(w, "  %s, of which %s free for reuse; WAL %s\n", humanize.Bytes(in.File.Bytes),
		humanize.Bytes(in.File.Free),
		humanize.Bytes(in.File.WAL))
	fmt.Fprintf(w, "  %s (%s not active), %s, %s\n", humanize.Count(in.Actors, "account"), humanize.Number(in.Inactive),
		humanize.Count(in.Collections, "collection"), humanize.Count(in.Sources, "source"))

	fmt.Fprintf(w, "\nPending\n")
	due := "none due"
	if in.CompactionDue {
		due = "due, done by weft serve"
	}
	fmt.Fprintf(w, "  %s not in segments; compaction: %s\n", humanize.Count(in.Log.Unsealed, "log row"), due)
	fmt.Fprintf(w, "  %s open, %s open, %s of status unfinished\n", humanize.Count(in.Gaps, "gap"),
		humanize.Count(in.Resyncs, "resync"),
		humanize.Count(in.Jobs, "change"))
}

// printBodies prints the size of the content of records; nothing if none was ever kept.
func printBodies(w io.Writer, b *inspect.Bodies) {
	if b.Mode == db.BodiesOff && b.Blocks == 0 {
		return
	}
	fmt.Fprintf(w, "\nBodies (%s)\n  %s bodies in %s\n", b.Mode, humanize.Number(b.Bodies), humanize.Count(b.Blocks,
		"block"))
	for _, part := range []struct {
		what  string
		bytes int64
	}{{"bytes of a block, as stored", b.Bytes}, {"of its record", b.Raw}} {
		fmt.Fprintf(w, "  %-38s %6s %9s %s\n", part.what, perLink(part.bytes, b.Blocks), humanize.Bytes(part.bytes),
			bar(part.bytes, max(b.Bytes, b.Raw), 20))
	}
}

// bar returns a bar whose length is proportional to n / largest.
func bar(n, largest int64, width int) string {
	if largest <= 0 || n <= 0 {
		return ""
	}
	return strings.Repeat("#", max(1, int(n*int64(width)/largest)))
}

// printSegments prints a line for each segment and for each level.
func printSegments(w io.Writer, segments []inspect.Segment) {
	largest := int64(0)
	var levels []inspect.Segment // sums per level; FromSeq counts the files
	for _, s := range segments {
		largest = max(largest, s.Bytes)
		for len(levels) <= s.Level {
			levels = append(levels, inspect.Segment{Level: len(levels)})
		}
		l := &levels[s.Level]
		l.FromSeq = l.FromSeq + 1
		l.Links = l.Links + s.Links
		l.Bytes = l.Bytes + s.Bytes
	}
	fmt.Fprintf(w, "\nSegments, oldest first\n  %5s  %-23s %13s %9s  %6s\n", "level", "log rows", "links", "bytes",
		"B/link")
	for _, s := range segments {
		note := bar(s.Bytes, largest, 15)
		if s.Fault != "" {
			note = "unreadable"
		}
		fmt.Fprintf(w, "  %5d  %-23s %13s %9s  %6s %s\n", s.Level, fmt.Sprintf("%d-%d", s.FromSeq, s.ToSeq),
			humanize.Number(s.Links), humanize.Bytes(s.Bytes), perLink(s.Bytes, s.Links), note)
	}
	fmt.Fprintf(w, "\nLevels\n")
	largest = 0
	for _, l := range levels {
		largest = max(largest, l.Bytes)
	}
	for _, l := range levels {
		fmt.Fprintf(w, "  %5d  %-23s %13s %9s  %6s %s\n", l.Level, humanize.Count(int64(l.FromSeq), "file"),
			humanize.Number(l.Links),
			humanize.Bytes(l.Bytes), perLink(l.Bytes, l.Links), bar(l.Bytes, largest, 15))
	}
}

// printSpace prints the bytes per link and the write amplification.
func printSpace(w io.Writer, segments []inspect.Segment) {
	var all inspect.Segment
	written := int64(0)
	unreadable := false
	for _, s := range segments {
		if s.Fault != "" {
			unreadable = true
			continue
		}
		written += s.Bytes * int64(s.Level+1)
		all.Links = all.Links + s.Links
		all.Bytes = all.Bytes + s.Bytes
		all.Targets = all.Targets + s.Targets
		all.Records = all.Records + s.Records
		all.Names = all.Names + s.Names
	}
	if unreadable {
		fmt.Fprintf(w, "\nweft check reports why a segment is unreadable; the figures below leave it out.\n")
	}
	rest := all.Bytes - all.Targets - all.Records - all.Names
	largest := max(all.Targets, all.Records, all.Names, rest)
	fmt.Fprintf(w, "\nBytes for each link, in segments\n")
	for _, part := range []struct {
		what  string
		bytes int64
	}{{"by target", all.Targets}, {"by record", all.Records}, {"names", all.Names}, {"indexes, filters, sets", rest}} {
		fmt.Fprintf(w, "  %-38s %6s %9s %s\n", part.what, perLink(part.bytes, all.Links), humanize.Bytes(part.bytes),
			bar(part.bytes, largest, 20))
	}
	fmt.Fprintf(w, "  %-38s %6s %9s\n", "in all", perLink(all.Bytes, all.Links), humanize.Bytes(all.Bytes))
	if all.Bytes > 0 {
		fmt.Fprintf(w, "  Write amplification: about %.1f. A segment of level n was written n + 1 times:\n"+
			"  sealed once, compacted n times. The log and its WAL are not included.\n", float64(written)/float64(all.Bytes))
	}
}

// perLink formats the bytes per link, or per another item.
func perLink(bytes, links int64) string {
	if links <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(bytes)/float64(links))
}

func utc(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05Z") }
