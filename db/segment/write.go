package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db/disk"
)

// Input is the content of one run of a new segment.
type Input struct {
	ID      int // of the run in the file
	Kind    Kind
	Entries Entries
}

// Entries is a sequence of entries in key order, each key above the previous one, such as an lsm.CompactionIterator.
// Key and Value are valid until the next call of Next. An error of Next stops Write; that is also how to cancel it.
type Entries interface {
	Next() (bool, error)
	Key() []byte
	Value() []byte
}

// Options configures Write. The zero Options has the defaults for production.
type Options struct {
	// Failpoint is called after each step; its error stops Write. The steps are created (the temporary file and its
	// tables), written (all rows; the file is closed), synced, renamed and dir-synced. Tests stop there. Nil: none.
	Failpoint func(name string) error

	// Canceled is called while the complete file is read for its checksum, which can take minutes; its error stops Write.
	// Nil: no call.
	Canceled func() error

	// Pacer rests while the complete file is read. Nil: it is read at once.
	Pacer *disk.Pacer

	// ListOver is the number of entries above which a list has a set of its members; 0: 1000. Only tests change it.
	ListOver int

	// The other options have measured defaults (see the benchmarks). Only tests change them.

	blockSize int // of a data block before compression, in bytes
	nodeSize  int // of an index block before compression, in bytes
	pageSize  int // SQLite's, in bytes
	level     zstd.EncoderLevel
	format    int // 2: no fixed blocks
	workers   int // that compress

	writeDirty func(*os.File) error // disk.WriteDirty
}

func (o Options) withDefaults() Options {
	if o.Failpoint == nil {
		o.Failpoint = func(string) error { return nil }
	}
	if o.Canceled == nil {
		o.Canceled = func() error { return nil }
	}
	for _, d := range []struct {
		option *int
		value  int
	}{{&o.blockSize, 8192}, {&o.nodeSize, 8192}, {&o.pageSize, 4096}, {&o.ListOver, 1000}, {&o.format, format},
		{&o.workers, defaultWorkers()}} {
		if *d.option == 0 {
			*d.option = d.value
		}
	}
	if o.writeDirty == nil {
		o.writeDirty = disk.WriteDirty
	}
	if o.level == 0 {
		o.level = zstd.SpeedDefault
	}
	return o
}

// tmpSuffix ends the names of incomplete or obsolete files. They can be removed while no Write to the directory runs.
const tmpSuffix = ".tmp"

// TempPath returns the path of the temporary file of a Write to path.
func TempPath(path string) string { return path + tmpSuffix }

// Write writes a new segment at path from inputs, which are read one after the other. Nothing may exist at path. The
// memory does not grow with the number of entries: about 20 MB, plus the members of the longest list, at most 8 KiB for
// each 65,536 of the range of members.
//
// Write writes a temporary file in the same directory, syncs it, renames it to path and syncs the directory. So path
// holds a complete segment or nothing, also after a crash. After an error no file is left.
func Write(path string, meta map[string]string, inputs []Input, o Options) (Info, error) {
	info, err := write(path, meta, inputs, o.withDefaults())
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", path, err)
	}
	return info, nil
}

func write(path string, meta map[string]string, inputs []Input, o Options) (info Info, err error) {
	if _, err := os.Lstat(path); err == nil {
		return info, os.ErrExist
	}
	tmp := TempPath(path)
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return info, err
	}
	w, err := createFile(tmp, o)
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	if err != nil {
		return info, err
	}
	info.Runs, err = writeRows(w, path, meta, inputs, o)
	if err != nil {
		w.abort()
		return info, err
	}
	if err := w.commit(); err != nil {
		return info, err
	}
	if err := o.Failpoint("written"); err != nil {
		return info, err
	}
	return info, install(tmp, path, &info, o)
}

// zstdWindow is the window size of the compression in bytes: longer than nearly all blocks. It determines the memory of
// a worker's encoder, which took 20 MB with the window that zstd's level better has by default, while a compaction and a
// seal may run at once.
const zstdWindow = 256 << 10

// writeRows writes all rows of the file.
func writeRows(w *fileWriter, path string, meta map[string]string, inputs []Input, o Options) ([]RunInfo, error) {
	if err := o.Failpoint("created"); err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(o.level), zstd.WithEncoderConcurrency(o.workers),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(zstdWindow))
	if err != nil {
		return nil, err
	}
	defer func() { _ = z.Close() }()
	h := head{Meta: meta}
	infos := make([]RunInfo, 0, len(inputs))
	seen := map[int]bool{}
	for _, in := range inputs {
		if seen[in.ID] {
			return nil, fmt.Errorf("duplicate run %d", in.ID)
		}
		seen[in.ID] = true
		r, err := writeRun(w, z, in, path, o)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", in.ID, err)
		}
		h.Runs = append(h.Runs, r)
		infos = append(infos, r.RunInfo)
	}
	return infos, w.addHead(h)
}

// install syncs the complete file, computes its checksum and renames it to path. After an error path does not exist.
func install(tmp, path string, info *Info, o Options) error {
	f, err := os.Open(tmp)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err == nil {
		info.Checksum, info.Bytes, err = Checksum(cancelableReader{o.Pacer.Reader(f), o.Canceled})
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := o.Failpoint("synced"); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	err = o.Failpoint("renamed")
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err == nil {
		err = o.Failpoint("dir-synced")
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// cancelableReader reads until canceled returns an error.
type cancelableReader struct {
	io.Reader
	canceled func() error
}

func (r cancelableReader) Read(b []byte) (int, error) {
	err := r.canceled()
	if err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
