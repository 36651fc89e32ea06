package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"

	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// File is an open segment.
type File struct {
	ManifestRow
	*segment.Segment
	Path string
	// End identifies the moment of the log up to which this segment and all older ones have the index, in this process. A
	// segment that replaces others has that of the newest of them.
	End  uint64
	refs int  // file sets that hold it; guarded by Core.filesMu
	gone bool // no longer in the manifest: removed with its last reference
}

// FileSet is the segments of a snapshot, oldest first. A reader of a snapshot holds its file set: no file is closed or
// removed during a query.
type FileSet struct {
	Files []*File
	refs  int // snapshots and queries that hold it; guarded by Core.filesMu
}

// newFileSet returns a file set with one reference, which holds its files.
func (c *Core) newFileSet(files []*File) *FileSet {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	for _, f := range files {
		f.refs++
	}
	return &FileSet{Files: files, refs: 1}
}

// Acquire returns the present snapshot with a reference, which the query releases.
func (c *Core) Acquire() *Snapshot {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	v := c.Snapshot()
	v.Files.refs++
	return v
}

// Release releases a snapshot.
func (c *Core) Release(v *Snapshot) { c.ReleaseFiles(v.Files) }

func (c *Core) ReleaseFiles(set *FileSet) {
	c.filesMu.Lock()
	var done []*File
	set.refs--
	if set.refs == 0 {
		for _, f := range set.Files {
			f.refs--
			if f.refs > 0 {
				continue
			}
			done = append(done, f)
			if f.gone {
				c.retired -= f.Bytes
			}
		}
	}
	c.filesMu.Unlock()
	for _, f := range done {
		err := f.Close()
		if f.gone {
			err = errors.Join(err, c.beforeUnlink(), os.Remove(f.Path))
		}
		if err != nil {
			c.Logger.Warn("cannot close or remove an old segment; the next start does it", "file", f.File,
				"err", err)
		}
	}
}

// beforeUnlink calls the failpoint.
func (c *Core) beforeUnlink() error {
	if c.Failpoint == nil {
		return nil
	}
	return c.Failpoint("unlink")
}

// Retire marks files that the manifest no longer has: each is removed with its last reference.
func (c *Core) Retire(files []*File) {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	for _, f := range files {
		f.gone = true
		c.retired += f.Bytes
	}
}

// RetiredBytes returns the bytes of retired files that a snapshot or a query still holds.
func (c *Core) RetiredBytes() int64 {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	return c.retired
}

// Held returns those of the files that a snapshot or a query holds.
func (c *Core) Held(files []*File) (held []*File) {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	for _, f := range files {
		if f.refs > 0 {
			held = append(held, f)
		}
	}
	return held
}

// ErrLost reports whether a segment is not there, or is not what the manifest says.
var ErrLost = errors.New("the segment is lost")

// ErrNoFile is ErrLost for a segment without a file. A compaction of a writer beside may have removed it.
var ErrNoFile = fmt.Errorf("%w", ErrLost)

// MendStore says how to repair a damaged weft.db of an index that weft writes.
const MendStore = "restore it from the replica with weft restore --force --data %s, or start weft serve --replicate " +
	"with an empty directory, which restores it too; without a replica, re-index into an empty directory"

// SegmentName matches the names of weft's files in the directory segments, also of unfinished ones.
var SegmentName = regexp.MustCompile(`^[0-9]+-[0-9]+-[A-Z0-9]+\.weft(\.hashes)?(\.tmp|\.part)?(-journal)?$`)

// RemoveStrays removes the files that a crash left: segments that neither the manifest nor the present snapshot has.
func (c *Core) RemoveStrays(rows []ManifestRow) error {
	dir := filepath.Join(c.Dir, "segments")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the segments: %w", err)
	}
	named := map[string]bool{}
	for _, r := range rows {
		named[r.File] = true
	}
	if v := c.Snapshot(); v != nil {
		for _, f := range v.Files.Files {
			named[f.File] = true
		}
	}
	for _, e := range entries {
		if named[e.Name()] || !SegmentName.MatchString(e.Name()) {
			continue
		}
		c.Logger.Info("removing an orphaned segment of a crash", "file", e.Name())
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove a stray segment: %w", err)
		}
	}
	return nil
}

// OpenSegment opens a segment that the manifest names.
func (c *Core) OpenSegment(row ManifestRow) (*File, error) {
	path := filepath.Join(c.Dir, "segments", row.File)
	missing := fmt.Errorf("segment %s with %d links is missing; restore it from the replica with weft restore "+
		"--segments --data %s: %w", path, row.Links, c.Dir, ErrNoFile)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing
	case err != nil:
		return nil, fmt.Errorf("segment %s: %w", row.File, err)
	case info.Size() != row.Bytes:
		return nil, fmt.Errorf("segment %s has %d bytes and should have %d; restore it from the replica with weft "+
			"restore "+
			"--segments --force --data %s: %w", path, info.Size(), row.Bytes, c.Dir, ErrLost)
	}
	opened, err := segment.Open(path, RunKinds, c.Blocks)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing // it was removed since
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EIO), err != nil && IsTransient(err):
		return nil, err // the file may be good
	case errors.Is(err, segment.ErrFormat):
		// A file that is damaged where its number stands is one that is lost.
		if sum, e := segment.FileChecksum(path); e != nil || sum == row.Checksum {
			return nil, errors.Join(err, e)
		}
		return nil, fmt.Errorf("%w; and its checksum differs from the manifest; restore it from the replica with weft "+
			"restore --segments --force --data %s: %w", err, c.Dir, ErrLost)
	case err != nil:
		return nil, fmt.Errorf("%w; restore it from the replica with weft restore --segments --force --data %s: %w",
			err,
			c.Dir, ErrLost)
	}
	if err := c.belongs(&row, opened.Meta()); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	row.NewestRank, _ = strconv.ParseUint(opened.Meta()[NewestRank], 10, 64)
	row.OldestRank, _ = strconv.ParseUint(opened.Meta()[OldestRank], 10, 64)
	return &File{ManifestRow: row, Segment: opened, Path: path, End: lsm.NewRunID()}, nil
}

// belongs refuses a segment of another index, and a manifest whose checksums differ from the segment's, whose header
// has a checksum of its own. Neither segment is lost: rebuilding it would hide that weft.db is wrong.
func (c *Core) belongs(row *ManifestRow, meta map[string]string) error {
	if meta["instance"] != c.Instance {
		return fmt.Errorf("segment %s belongs to index %s, but weft.db is index %s: "+MendStore, row.File,
			meta["instance"],
			c.Instance, c.Dir)
	}
	sums := row.Checksums()
	if log := meta[logrow.LogChecksum]; log != "" && sums.Known && (log != sums.LogText() ||
		meta[logrow.NamesChecksum] != sums.NamesText()) {
		return fmt.Errorf("%w: the manifest has other checksums for segment %s than the segment itself: "+MendStore,
			logrow.ErrDamaged, row.File, c.Dir)
	}
	return nil
}

// Base returns the snapshot of the segments alone, and holds them.
func (c *Core) Base(files []*File) *Snapshot {
	v := Layers(files)
	v.Files = c.newFileSet(files)
	return v
}

// Layers returns the snapshot of segments that the caller holds.
func Layers(files []*File) *Snapshot {
	v := EmptySnapshot()
	v.Sums.Known = true // of nothing
	v.Files = &FileSet{Files: files}
	for i, tree := range v.Trees() {
		for _, f := range files {
			tree.Runs = append(tree.Runs, f.Run(RunIDs[i]))
		}
		tree.NoCompact = len(files)
	}
	if len(files) > 0 {
		newest := files[len(files)-1]
		v.Linking = newest.Linking
		v.Seq = newest.ToSeq
		v.Sealed = newest.ToSeq
		v.Sums = newest.Checksums()
	}
	return v
}

// PublishSnapshot makes a snapshot with other files the present one.
func (c *Core) PublishSnapshot(v *Snapshot) {
	c.filesMu.Lock()
	old := c.current.Swap(v)
	c.filesMu.Unlock()
	c.ReleaseFiles(old.Files)
}

// WithFiles returns the snapshot of these files and of the runs in memory. The lowest drop(i) runs of a tree, with
// those of the old files, are now in the files.
func (c *Core) WithFiles(old *Snapshot, files []*File, drop func(i int) int) *Snapshot {
	v := *old
	v.Files = c.newFileSet(files)
	for i, tree := range v.Trees() {
		runs := make([]lsm.Run, 0, len(files)+len(tree.Runs))
		for _, f := range files {
			runs = append(runs, f.Run(RunIDs[i]))
		}
		tree.NoCompact = len(files) + max(tree.NoCompact-drop(i), 0)
		tree.Runs = append(runs, tree.Runs[drop(i):]...)
	}
	v.Sealed = files[len(files)-1].ToSeq
	return &v
}
