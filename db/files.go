package db

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

// file is an open segment.
type file struct {
	manifestRow
	*segment.Segment
	path string
	refs int  // file sets that hold it; guarded by Store.files
	gone bool // no longer in the manifest: removed with its last reference
}

// fileSet is the segments of a snapshot, oldest first. A reader of a snapshot holds its file set: no file is closed or
// removed during a query.
type fileSet struct {
	files []*file
	refs  int // snapshots and queries that hold it; guarded by Store.files
}

// newFileSet returns a file set with one reference, which holds its files.
func (s *Index) newFileSet(files []*file) *fileSet {
	s.files.Lock()
	defer s.files.Unlock()
	for _, f := range files {
		f.refs++
	}
	return &fileSet{files: files, refs: 1}
}

// acquire returns the present snapshot with a reference, which the query releases.
func (s *Index) acquire() *Snapshot {
	s.files.Lock()
	defer s.files.Unlock()
	v := s.snapshot.Load()
	v.files.refs++
	return v
}

// release releases a snapshot.
func (s *Index) release(v *Snapshot) { s.releaseFiles(v.files) }

func (s *Index) releaseFiles(set *fileSet) {
	s.files.Lock()
	var done []*file
	set.refs--
	if set.refs == 0 {
		for _, f := range set.files {
			f.refs--
			if f.refs == 0 {
				done = append(done, f)
			}
		}
	}
	s.files.Unlock()
	for _, f := range done {
		err := f.Close()
		if f.gone {
			err = errors.Join(err, s.failpoint("unlink"), os.Remove(f.path))
		}
		if err != nil {
			s.cfg.Logger.Warn("cannot close or remove an old segment; the next start does it", "file", f.File,
				"err", err)
		}
	}
}

// mendStore says how to repair a damaged weft.db of an index that weft writes.
const mendStore = "restore it from the replica with weft restore --force --data %s, or start weft serve --replicate " +
	"with an empty directory, which restores it too; without a replica, re-index into an empty directory"

// segmentName matches the names of weft's files in the directory segments, also of unfinished ones.
var segmentName = regexp.MustCompile(`^[0-9]+-[0-9]+-[A-Z0-9]+\.weft(\.hashes)?(\.tmp|\.part)?(-journal)?$`)

// removeStrays removes the files that a crash left: segments that neither the manifest nor the present snapshot has.
func (s *Index) removeStrays(rows []manifestRow) error {
	dir := filepath.Join(s.cfg.Dir, "segments")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the segments: %w", err)
	}
	named := map[string]bool{}
	for _, r := range rows {
		named[r.File] = true
	}
	if v := s.snapshot.Load(); v != nil {
		for _, f := range v.files.files {
			named[f.File] = true
		}
	}
	for _, e := range entries {
		if named[e.Name()] || !segmentName.MatchString(e.Name()) {
			continue
		}
		s.cfg.Logger.Info("removing an orphaned segment of a crash", "file", e.Name())
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove a stray segment: %w", err)
		}
	}
	return nil
}

// openSegment opens a segment that the manifest names.
func (s *Index) openSegment(row manifestRow) (*file, error) {
	path := filepath.Join(s.cfg.Dir, "segments", row.File)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("segment %s with %d links is missing; restore it from the replica with weft restore "+
			"--segments --data %s: %w", path, row.Links, s.cfg.Dir, errLost)
	case err != nil:
		return nil, fmt.Errorf("segment %s: %w", row.File, err)
	case info.Size() != row.Bytes:
		return nil, fmt.Errorf("segment %s has %d bytes and should have %d; restore it from the replica with weft "+
			"restore "+
			"--segments --force --data %s: %w", path, info.Size(), row.Bytes, s.cfg.Dir, errLost)
	}
	opened, err := segment.Open(path, runKinds, s.blocks)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EIO), err != nil && isTransient(err):
		return nil, err // the file may be good
	case errors.Is(err, segment.ErrFormat):
		// A file that is damaged where its number stands is one that is lost.
		if sum, e := segment.FileChecksum(path); e != nil || sum == row.Checksum {
			return nil, errors.Join(err, e)
		}
		return nil, fmt.Errorf("%w; and its checksum differs from the manifest; restore it from the replica with weft "+
			"restore --segments --force --data %s: %w", err, s.cfg.Dir, errLost)
	case err != nil:
		return nil, fmt.Errorf("%w; restore it from the replica with weft restore --segments --force --data %s: %w",
			err,
			s.cfg.Dir, errLost)
	}
	if err := s.belongs(&row, opened.Meta()); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	row.NewestUS, _ = strconv.ParseInt(opened.Meta()["newest_us"], 10, 64)
	return &file{manifestRow: row, Segment: opened, path: path}, nil
}

// belongs refuses a segment of another index, and a manifest whose checksums differ from the segment's, whose header
// has a checksum of its own. Neither segment is lost: rebuilding it would hide that weft.db is wrong.
func (s *Index) belongs(row *manifestRow, meta map[string]string) error {
	if meta["instance"] != s.instance {
		return fmt.Errorf("segment %s belongs to index %s, but weft.db is index %s: "+mendStore, row.File,
			meta["instance"],
			s.instance, s.cfg.Dir)
	}
	sums := row.checksums()
	if log := meta[logrow.LogChecksum]; log != "" && sums.Known && (log != sums.LogText() ||
		meta[logrow.NamesChecksum] != sums.NamesText()) {
		return fmt.Errorf("%w: the manifest has other checksums for segment %s than the segment itself: "+mendStore,
			logrow.ErrDamaged, row.File, s.cfg.Dir)
	}
	return nil
}

// SegmentPaths returns the files of the present snapshot, oldest first. A file that a compaction has just replaced may
// be among them.
func (s *Store) SegmentPaths() []string {
	v := s.acquire()
	defer s.release(v)
	paths := make([]string, 0, len(v.files.files))
	for _, f := range v.files.files {
		paths = append(paths, f.path)
	}
	return paths
}

// base returns the snapshot of the segments alone, and holds them.
func (s *Index) base(files []*file) *Snapshot {
	v := layers(files)
	v.files = s.newFileSet(files)
	return v
}

// layers returns the snapshot of segments that the caller holds.
func layers(files []*file) *Snapshot {
	v := emptySnapshot()
	v.sums.Known = true // of nothing
	v.files = &fileSet{files: files}
	for i, stack := range v.stacks() {
		for _, f := range files {
			stack.Runs = append(stack.Runs, f.Run(runIDs[i]))
		}
		stack.NoCompact = len(files)
	}
	if len(files) > 0 {
		newest := files[len(files)-1]
		v.linking = newest.Linking
		v.seq = newest.ToSeq
		v.sealed = newest.ToSeq
		v.sums = newest.checksums()
	}
	return v
}

// publishSnapshot makes a snapshot with other files the present one.
func (s *Index) publishSnapshot(v *Snapshot) {
	s.files.Lock()
	old := s.snapshot.Swap(v)
	s.files.Unlock()
	s.releaseFiles(old.files)
}

// withFiles returns the snapshot of these files and of the runs in memory. The lowest drop(i) runs of a stack, with
// those of the old files, are now in the files.
func (s *Index) withFiles(old *Snapshot, files []*file, drop func(i int) int) *Snapshot {
	v := *old
	v.files = s.newFileSet(files)
	for i, stack := range v.stacks() {
		runs := make([]lsm.Run, 0, len(files)+len(stack.Runs))
		for _, f := range files {
			runs = append(runs, f.Run(runIDs[i]))
		}
		stack.NoCompact = len(files) + max(stack.NoCompact-drop(i), 0)
		stack.Runs = append(runs, stack.Runs[drop(i):]...)
	}
	v.sealed = files[len(files)-1].ToSeq
	return &v
}
