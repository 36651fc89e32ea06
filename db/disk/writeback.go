package disk

import "os"

// bytesPerSync is the number of bytes after which a Writeback writes them to the disk. A volume of 16 MiB/s writes them
// in 60 ms. Without it, the sync of a complete file queues all of its bytes before the next write of a commit. RocksDB
// advises the same number for its option of that name.
const bytesPerSync = 1 << 20

// Writeback writes the bytes of a growing file to the disk while the file is written.
type Writeback struct {
	File  *os.File             // may be opened for reading only
	Write func(*os.File) error // WriteDirty; tests count its calls

	n int // bytes since the last call
}

// Wrote is called after n bytes were written to the file. After bytesPerSync of them it waits until the disk has them.
// They are durable only after a sync of the complete file. After an error the file is lost: that sync doesn't report
// the error again.
func (w *Writeback) Wrote(n int) error {
	w.n += n
	if w.n < bytesPerSync {
		return nil
	}
	w.n = 0
	return w.Write(w.File)
}
