package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"weft.dev/weft/db"
)

// OwnedFiles are the files that belong to a database beside its main file. They would corrupt a restored database:
// SQLite would apply the WAL to it, and Litestream would continue from its earlier uploads.
var OwnedFiles = []string{"weft.db", "weft.db-wal", "weft.db-shm", "weft.db-journal", "weft.db-txid",
	".weft.db-litestream"}

// StateName is the directory of a replicator's state: the record that index and replica belong together, and the upload
// queue.
const StateName = "replica"

// Obstacles lists the files of a data directory that forbid a restore into it. The replicator itself restores the
// newest state, so its own state stays valid. An earlier state of the index does not belong to the replica any more.
func Obstacles(dir string, t Target) []string {
	names := OwnedFiles
	if t != (Target{}) {
		names = append(slices.Clone(names), StateName)
	}
	return existing(dir, names)
}

func existing(dir string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return errors.Is(err, fs.ErrNotExist)
	})
}

// install moves the verified database into place. The files that it replaces go into a directory of their own, with
// their segments. A segment that both databases need gets a name in both directories, so that each is complete.
func (r *restore) install(m *db.Manifest) error {
	if there := existing(r.dir, append(slices.Clone(OwnedFiles), StateName)); r.o.Force && len(there) > 0 {
		aside := filepath.Join(r.dir, "before-restore-"+r.o.Now().UTC().Format("20060102T150405Z"))
		if err := r.putAside(aside, m); err != nil {
			return err
		}
		r.result.Aside = aside
		// The database moves first: a WAL without its database is ignored; a database without its WAL would differ.
		for _, name := range there {
			r.failpoint("aside " + name)
			if err := os.Rename(filepath.Join(r.dir, name), filepath.Join(aside, name)); err != nil {
				return err
			}
		}
		if err := errors.Join(SyncDir(aside), SyncDir(r.dir)); err != nil {
			return err
		}
	}
	r.failpoint("rename")
	if err := os.Rename(filepath.Join(r.dir, db.Restoring), filepath.Join(r.dir, "weft.db")); err != nil {
		return err
	}
	return SyncDir(r.dir)
}

// putAside gives the old index its segments: weft serve removes from segments/ the files outside its manifest.
func (r *restore) putAside(aside string, m *db.Manifest) error {
	r.failpoint("aside")
	if err := os.MkdirAll(filepath.Join(aside, "segments"), 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(r.dir, "segments"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".weft" || slices.Contains(r.fetched, e.Name()) {
			continue
		}
		r.failpoint("aside segment")
		from := filepath.Join(r.dir, "segments", e.Name())
		to := filepath.Join(aside, "segments", e.Name())
		if slices.ContainsFunc(m.Segments, func(s db.ManifestFile) bool { return s.File == e.Name() }) {
			err = os.Link(from, to)
		} else {
			err = os.Rename(from, to)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return SyncDir(filepath.Join(aside, "segments"))
}

func (r *restore) failpoint(step string) {
	if r.o.Failpoint != nil {
		r.o.Failpoint(step)
	}
}

// spareBytes is the space that a restore leaves free beside the restored files, in bytes: a full disk stops weft.
const spareBytes = 64 << 20

// EnoughSpace returns ErrNoRoom if the disk is too small.
func EnoughSpace(dir string, bytes int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return err
	}
	if bytes > 0 && free < bytes+spareBytes {
		return fmt.Errorf("%w: %s needs %d MB and has %d MB free", ErrNoRoom, dir, (bytes+spareBytes)/1e6, free/1e6)
	}
	return nil
}

// ErrNoRoom means that a disk is too small.
var ErrNoRoom = errors.New("the disk is full")

func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	return int64(uint64(s.Bavail) * uint64(s.Bsize)), nil
}
