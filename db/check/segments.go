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
	"weft.dev/weft/db/segment"
)

// verifyEntries is how many entries of segments a sample derives again: some seconds' worth.
const verifyEntries = 5_000_000

// segments checks the manifest, and each file against it, and lays the index of those files.
func (c *checker) segments(ctx context.Context) error {
	rows, err := index.ReadManifestRows(ctx, c.core.Reader)
	if err != nil {
		return err
	}
	var first int64
	if err := c.core.Reader.GetContext(ctx, &first, "SELECT ifnull(min(seq), 0) FROM records"); err != nil {
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
	for i, row := range rows {
		c.begin(fmt.Sprintf("segment %d of %d", i+1, len(rows)))
		f := c.segment(row)
		if f == nil {
			c.whole = false
			continue
		}
		files = append(files, f)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	// From here on, Close closes them.
	c.core.SetSnapshot(c.core.Base(files))
	c.checked("segments", int64(len(rows)), "each file's checksum, its range and its sums")
	if err := c.verify(ctx, files); err != nil {
		return err
	}
	return c.strays(rows)
}

// adjacent checks that the segments' ranges follow each other, from the first log row on.
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

// segment checks a file against its row in the manifest, and opens it; nil when it is not what was written.
func (c *checker) segment(row index.ManifestRow) *index.File {
	path := filepath.Join(c.core.Dir, "segments", row.File)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		c.found(KindSegment, c.mendGone, "segment %s, which has log rows %d to %d and %d links, is missing", row.File,
			row.FromSeq, row.ToSeq, row.Links)
		return nil
	case err != nil:
		c.found(KindSegment, c.mendFile, "segment %s can't be read: %v", row.File, err)
		return nil
	case info.Size() != row.Bytes:
		c.found(KindSegment, c.mendFile, "segment %s has %d bytes and should have %d", row.File, info.Size(), row.Bytes)
		return nil
	}
	sum, err := segment.FileChecksum(path)
	if err != nil {
		c.found(KindSegment, c.mendFile, "segment %s can't be read: %v", row.File, err)
		return nil
	}
	if sum != row.Checksum {
		c.found(KindSegment, c.mendFile, "segment %s is damaged: its checksum is %.16s…, not %.16s…", row.File, sum,
			row.Checksum)
		return nil
	}
	opened, err := segment.Open(path, index.RunKinds, c.core.Blocks)
	if err != nil {
		c.found(KindSegment, c.mendFile, "segment %s can't be opened: %v", row.File, err)
		return nil
	}
	for _, id := range index.RunIDs {
		if opened.Run(id) == nil {
			c.found(KindSegment, c.mendFile, "segment %s lacks the run %d", row.File, id)
			_ = opened.Close()
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
	return &index.File{ManifestRow: row, Segment: opened, Path: path}
}

// verify derives again what follows from the entries of files: of all, or of as many as a sample has time for.
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

// strays notes what lies among the segments and is none.
func (c *checker) strays(rows []index.ManifestRow) error {
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
