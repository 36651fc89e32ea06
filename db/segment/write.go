package segment

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// Input is what becomes one run of a segment.
type Input struct {
	ID   int // names the run in the file
	Kind Kind
	// Entries gives the entries in order, each key above the one before; lsm.CompactionIterator is one. Key and Value are valid until
	// the next call of Next. An error of Next ends the writing, which is also how to break it off.
	Entries interface {
		Next() (bool, error)
		Key() []byte
		Value() []byte
	}
}

// Options configures Write. The zero Options is what is to be used.
type Options struct {
	// Failpoint is called when a step is done; the file is not written on when it gives an error. The steps are created (the
	// temporary file and its tables), written (all rows, and the file closed), synced, renamed and dir-synced. It is for
	// tests that stop there. Nil: none.
	Failpoint func(name string) error

	// What follows is chosen by measurement, and changed by tests alone: see the benchmarks.

	blockSize int // of a data block, before compression, in bytes
	nodeSize  int // of an index block, likewise
	pageSize  int // SQLite's, in bytes
	level     zstd.EncoderLevel
	listOver  int // lists of more entries have a set of their members
}

func (o Options) withDefaults() Options {
	if o.Failpoint == nil {
		o.Failpoint = func(string) error { return nil }
	}
	for _, d := range []struct {
		option *int
		value  int
	}{{&o.blockSize, 8192}, {&o.nodeSize, 8192}, {&o.pageSize, 4096}, {&o.listOver, 1000}} {
		if *d.option == 0 {
			*d.option = d.value
		}
	}
	if o.level == 0 {
		o.level = zstd.SpeedBetterCompression
	}
	return o
}

// tmpSuffix ends the names of files that are not complete, or no longer of use. They can be removed when no Write of
// this directory is under way.
const tmpSuffix = ".tmp"

// Write makes a segment at path, where nothing may lie yet, from the runs of inputs, which are read one after the other.
// Its memory doesn't grow with the number of entries: it takes about 20 MB, and what the members of the longest list
// take, at most 8 KiB for each 65,536 of the range of members.
//
// The file is written under another name in the same directory, synced, renamed, and the directory synced, so that path
// holds a whole segment or nothing, whatever happens. After an error nothing is left of it.
func Write(path string, meta map[string]string, inputs []Input, o Options) (Info, error) {
	o = o.withDefaults()
	info, err := write(path, meta, inputs, o)
	if err != nil {
		return Info{}, fmt.Errorf("segment: write %s: %w", path, err)
	}
	return info, nil
}

func write(path string, meta map[string]string, inputs []Input, o Options) (info Info, err error) {
	if _, err := os.Lstat(path); err == nil {
		return info, os.ErrExist
	}
	tmp := path + tmpSuffix
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return info, err
	}
	w, err := createFile(tmp, o.pageSize)
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	if err != nil {
		return info, err
	}
	if info.Runs, err = fill(w, path, meta, inputs, o); err != nil {
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

// zstdWindow is how far back the compression looks, in bytes: farther than nearly all blocks are long. The encoder takes its
// memory by it: 20 MB with the default of its level, and a merge runs beside a seal.
const zstdWindow = 256 << 10

// fill writes all rows.
func fill(w *fileWriter, path string, meta map[string]string, inputs []Input, o Options) ([]RunInfo, error) {
	if err := o.Failpoint("created"); err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(o.level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(zstdWindow))
	if err != nil {
		return nil, err
	}
	defer func() { _ = z.Close() }()
	h, infos := head{Meta: meta}, make([]RunInfo, 0, len(inputs))
	seen := map[int]bool{}
	for _, in := range inputs {
		if seen[in.ID] {
			return nil, fmt.Errorf("run %d is given twice", in.ID)
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

// install brings the complete file to its place.
func install(tmp, path string, info *Info, o Options) error {
	f, err := os.Open(tmp)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err == nil {
		info.Checksum, info.Bytes, err = checksum(f)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
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

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
