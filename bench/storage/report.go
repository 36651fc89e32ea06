package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figures are all measurements.
type figures struct {
	Options   options   `json:"options"`
	Generated generated `json:"generated"`
	Weft      measured  `json:"weft"`
	Starts    []opened  `json:"starts"`
}

// print writes the table.
func (f *figures) print(w io.Writer) error {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	m := &f.Weft
	per := func(bytes int64) string { return fmt.Sprintf("%.1f B/link", float64(bytes)/float64(m.Links)) }
	t.row("links", "%d added by %d events of %d accounts, %d live; %d of them sent to one target", m.Links, m.Events,
		f.Options.accounts(), m.Live, f.Generated.BigLinks)
	t.row("generator", "%.0f events/s, apart", float64(f.Generated.AllBatches*f.Options.Batch)/f.Generated.Took.Seconds())
	t.row("load of the machine", "%s at the end of ingest", m.Load)

	segments := m.Work.SealedBytes + m.Work.CompactedBytes
	t.head("bytes written")
	t.row("WAL of weft.db", "%s", per(m.WAL))
	t.row("segment files", "%s: %d seals %s, %d compactions %s", per(segments), m.Work.Seals, per(m.Work.SealedBytes),
		m.Work.Compactions, per(m.Work.CompactedBytes))
	t.row("both", "%s", per(m.WAL+segments))
	t.row("beside them", "%s: checkpoints into weft.db, and files that are gone when a segment is done",
		per(max(m.Written-m.WAL-segments, 0)))

	d := &m.Disk
	t.head("disk, when nothing is due any more")
	live := func(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/float64(m.Live)) }
	t.row("segments", "%s B/live link in %d files, levels %v", live(d.Bytes), d.Segments, d.Levels)
	rest := d.Bytes
	for _, name := range slices.Sorted(maps.Keys(d.Parts)) {
		t.row("  "+name, "%s", live(d.Parts[name]))
		rest -= d.Parts[name]
	}
	t.row("  pages of SQLite", "%s", live(rest))
	t.row("weft.db", "%s B/live link, %s of it free; %d log rows in a window of %s of the events' time", live(d.Main),
		live(d.Free), d.LogRows, f.Options.Window)
	tables := slices.SortedFunc(maps.Keys(d.Tables), func(a, b string) int {
		return cmp.Compare(d.Tables[b],
			d.Tables[a])
	})
	for _, name := range tables[:min(len(tables), 3)] {
		t.row("  "+name, "%s", live(d.Tables[name]))
	}
	if n := d.Bodies.Rows; n > 0 {
		each := func(bytes int64) float64 { return float64(bytes) / float64(n) }
		t.row("bodies", "%d in %d blocks, B/body: zstd %.1f, blocks %.1f, bodies %.1f, replaced %.1f", n, d.Bodies.Blocks,
			each(d.Bodies.Bytes), each(d.Tables["blocks"]), each(d.Tables["bodies"]), each(d.Tables["replaced"]))
	}

	a := &m.Applied
	t.head("ingest")
	// Without the decoding of events and the paced phase.
	t.row("with the seals and compactions", "%.0f events/s; in Apply %.0f, then %s until the last compaction is done",
		float64(m.Events-f.pacedEvents())/(a.Took+a.Settle).Seconds(),
		float64(m.Events-f.pacedEvents())/a.Took.Seconds(), round(a.Settle))
	t.row("each tenth", "%.0f events/s", a.Slices)
	t.row("processor time", "%.1f µs/event in each tenth, the seals and compactions that fell into it included", a.CPU)
	t.row("commit, alone", "%s", &m.Commits.Idle)
	t.row("commit, beside a seal", "%s", &m.Commits.Seal)
	t.row("commit, beside a compaction", "%s", &m.Commits.Compaction)
	t.row("commit, beside both", "%s", &m.Commits.Both)

	for _, l := range []struct {
		name string
		l    *latency
	}{{"when a compaction has begun", m.AtCompaction}, {"at the end", m.AtEnd}} {
		if l.l == nil {
			continue
		}
		t.head(fmt.Sprintf("queries while %d events/s flow in, %s", f.Options.Rate, l.name))
		t.row("count, any target", "%s", &l.l.Count)
		t.row("list of 100, any target", "%s", &l.l.List)
		t.row("count, the big target", "%s; %d links", &l.l.BigCount, l.l.Big)
		t.row("list of 100, the big target", "%s", &l.l.BigList)
		t.row("distinct DIDs, the big target", "%s; %d", &l.l.BigDID, l.l.BigDIDs)
		t.row("commit, nothing merges", "%s; %d late", &l.l.Commit, l.l.Late)
		t.row("commit, beside a compaction", "%s", &l.l.Compacting)
		t.row("peak RSS", "%s", mb(l.l.Peak))
	}

	t.head("memory")
	t.row("peak RSS of ingest", "%s; heap in use %s, runs in memory %s", mb(m.PeakRSS), mb(m.Heap), mb(m.Memory))
	t.head("start after kill -9")
	for _, s := range f.Starts {
		t.row(s.When, "%s, of it %s of processor time; %d log rows to replay; %d links; peak RSS %s", round(s.Took),
			round(s.CPU), s.Rows, s.Links, mb(s.PeakRSS))
	}
	return t.w.Flush()
}

// pacedEvents returns the number of events in the paced phase during ingest.
func (f *figures) pacedEvents() int64 {
	if f.Weft.AtCompaction == nil {
		return 0
	}
	return f.Weft.AtCompaction.Events
}

// table writes rows of a name and a text.
type table struct{ w *tabwriter.Writer }

func (t *table) head(text string) { _, _ = fmt.Fprintf(t.w, "\n%s\n", strings.ToUpper(text)) }

func (t *table) row(name, format string, args ...any) {
	_, _ = fmt.Fprintf(t.w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
}

func (q *quantiles) String() string {
	if q.N == 0 {
		return "never happened"
	}
	return fmt.Sprintf("p50 %s  p99 %s  max %s  (%d)", round(q.P50), round(q.P99), round(q.Max), q.N)
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

func mb(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }
