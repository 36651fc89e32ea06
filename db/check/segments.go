package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/segment"
)

// verifyEntries is the number of segment entries that a sample derives again: some seconds of work.
const verifyEntries = 5_000_000

// segments compares the manifest with the files and opens the index of those files.
func (c *checker) segments(ctx context.Context) error {
	if !c.pinned { // hold has reported the reason
		return nil
	}
	rows := make([]index.ManifestRow, len(c.held))
	for i := range c.held {
		rows[i] = c.held[i].row
	}
	first, _, err := logrow.Range(ctx, c.s.Reader())
	if err != nil {
		return err
	}
	c.mendFile = mendFile
	c.mendGone = mendGone
	if first == 1 {
		c.mendFile = mendFileOrLog
		c.mendGone = mendGoneOrLog
	}
	c.whole = true
	c.adjacent(rows)
	var files []*index.File
	for i := range rows {
		c.begin(fmt.Sprintf("segment %d of %d", i+1, len(rows)))
		f := c.segment(&c.held[i])
		if f == nil {
			c.whole = false
			continue
		}
		files = append(files, f)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	// Close now closes them.
	c.core.SetSnapshot(c.core.Base(files))
	c.checked("segments", int64(len(rows)), "each file's checksum, its range and its sums")
	if err := c.verify(ctx, files); err != nil {
		return err
	}
	return c.strays(rows)
}

// adjacent checks that the ranges of the segments are consecutive from the first log row on.
func (c *checker) adjacent(rows []index.ManifestRow) {
	next := uint64(1)
	before := index.ManifestRow{}
	for _, row := range rows {
		switch {
		case row.ToSeq < row.FromSeq:
			c.found(KindManifest, mendDB, "segment %s has the log rows %d to %d", row.File, row.FromSeq, row.ToSeq)
		case row.FromSeq > next:
			c.found(KindManifest, mendDB, "no segment has the log rows %d to %d, before %s", next, row.FromSeq-1,
				row.File)
		case row.FromSeq < next:
			c.found(KindManifest, mendDB, "segment %s begins at log row %d, and %s ends at %d", row.File, row.FromSeq,
				before.File, next-1)
		}
		if row.FromSeq != next || row.ToSeq < row.FromSeq {
			c.whole = false
		}
		if row.Actors < before.Actors || row.Collections < before.Collections || row.Sources < before.Sources {
			c.found(KindManifest, mendDB, "segment %s has fewer names than the older %s", row.File, before.File)
		}
		next = row.ToSeq + 1
		before = row
	}
}

// heldSegment is an open file of the manifest. A compaction may remove its name during the check.
type heldSegment struct {
	row     index.ManifestRow
	file    *os.File // nil after fileErr
	fileErr error
	opened  *segment.Segment // nil after openErr, and when the snapshot owns it
	openErr error
}

// hold pins weft.db and opens each file of its manifest.
func (c *checker) hold(ctx context.Context) error {
	err := c.s.Pin(ctx, func(rows []index.ManifestRow) (missing bool, err error) {
		c.closeHeld()
		for _, row := range rows {
			h := heldSegment{row: row}
			h.open(filepath.Join(c.core.Dir, "segments", row.File), c.core.Blocks)
			c.held = append(c.held, h)
			missing = missing || errors.Is(h.fileErr, os.ErrNotExist) || errors.Is(h.openErr, os.ErrNotExist)
		}
		return missing, nil
	})
	c.pinned = err == nil
	return err
}

func (h *heldSegment) open(path string, cache *segment.Cache) {
	h.file, h.fileErr = os.Open(path)
	if h.fileErr == nil {
		h.opened, h.openErr = segment.Open(path, index.RunKinds, cache)
	}
	if h.openErr == nil && h.opened != nil {
		h.openErr = h.opened.Hold()
	}
}

// closeHeld closes the files, except those that the snapshot owns.
func (c *checker) closeHeld() {
	for _, h := range c.held {
		if h.opened != nil {
			_ = h.opened.Close()
		}
		if h.file != nil {
			_ = h.file.Close()
		}
	}
	c.held = nil
}

// segment compares a file with its row in the manifest. It returns nil for a damaged or missing file.
func (c *checker) segment(h *heldSegment) *index.File {
	row := h.row
	if errors.Is(h.fileErr, os.ErrNotExist) {
		c.found(KindSegment, c.mendGone, "segment %s, which has log rows %d to %d and %d links, is missing", row.File,
			row.FromSeq, row.ToSeq, row.Links)
		return nil
	}
	if h.fileErr != nil {
		c.found(KindSegment, c.mendFile, "segment %s can't be read: %v", row.File, h.fileErr)
		return nil
	}
	sum, size, err := segment.Checksum(h.file)
	if err != nil {
		c.found(KindSegment, c.mendFile, "segment %s can't be read: %v", row.File, err)
		return nil
	}
	if size != row.Bytes {
		c.found(KindSegment, c.mendFile, "segment %s has %d bytes and should have %d", row.File, size, row.Bytes)
		return nil
	}
	if sum != row.Checksum {
		c.found(KindSegment, c.mendFile, "segment %s is damaged: its checksum is %.16s…, not %.16s…", row.File, sum,
			row.Checksum)
		return nil
	}
	if h.openErr != nil {
		c.found(KindSegment, c.mendFile, "segment %s can't be opened: %v", row.File, h.openErr)
		return nil
	}
	opened := h.opened
	for _, id := range index.RunIDs {
		if opened.Run(id) == nil {
			c.found(KindSegment, c.mendFile, "segment %s lacks the run %d", row.File, id)
			return nil
		}
	}
	meta := opened.Meta()
	if meta["from_seq"] != strconv.FormatUint(row.FromSeq, 10) || meta["to_seq"] != strconv.FormatUint(row.ToSeq, 10) ||
		meta["instance"] != c.core.Instance {
		c.found(KindSegment, c.mendFile, "segment %s does not belong here: it has log rows %s to %s of index %s",
			row.File,
			meta["from_seq"], meta["to_seq"], meta["instance"])
	}
	if total := opened.Run(index.RunTargets).Total(); total != row.Links {
		c.found(KindCount, mendDB, "segment %s has %d links, and the manifest says %d", row.File, total, row.Links)
	}
	h.opened = nil // the snapshot closes it
	return &index.File{ManifestRow: row, Segment: opened, Path: filepath.Join(c.core.Dir, "segments", row.File)}
}

// verify derives again the runs that follow from the entries of files: all, or up to verifyEntries in a sample.
func (c *checker) verify(ctx context.Context, files []*index.File) error {
	files = slices.Clone(files)
	if !c.o.All {
		c.rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	}
	n := 0
	entries := int64(0)
	for _, f := range files {
		size := int64(0)
		for _, r := range f.Info().Runs {
			size += r.Entries
		}
		if !c.o.All && entries+size > verifyEntries {
			continue
		}
		n = n + 1
		entries = entries + size
		c.begin("the entries of " + f.File)
		if err := f.Verify(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.found(KindSegment, mendIndex, "segment %s contradicts itself: %v", f.File, err)
			c.whole = false
		}
	}
	c.checked("entries", entries, fmt.Sprintf("of %d of %d segments, and the lists derived from them", n, len(files)))
	return nil
}

// strays notes files in the segment directory that are not in the manifest. A running weft makes and removes files.
func (c *checker) strays(rows []index.ManifestRow) error {
	if c.s.Beside() {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(c.core.Dir, "segments"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the segments: %w", err)
	}
	for _, e := range entries {
		if slices.ContainsFunc(rows, func(r index.ManifestRow) bool { return r.File == e.Name() }) {
			continue
		}
		what := "not a file of weft; ignored"
		if index.SegmentName.MatchString(e.Name()) {
			what = "left by a crash; the next start of weft serve removes it"
		}
		c.report.Notes = append(c.report.Notes, "segments/"+e.Name()+" is not in the manifest: "+what)
	}
	return nil
}
