package disk

import (
	"io"
	"os"
	"time"
)

// Background work reads and writes whole segments: compactions, checksums, uploads, verifications of the replica. The
// functions of this file keep it from taking all of a slow disk's bandwidth: commits and queries wait in the same queue.
// Measured on a volume of 16 MiB/s, a compaction without them delayed a commit by two minutes (docs/machines.md).

// bytesPerSync is the number of bytes after which a Writeback writes them to the disk. A volume of 16 MiB/s writes them
// in 60 ms. Without it, the sync of a complete file queues all of its bytes before the next write of a commit. RocksDB
// advises the same number for its option of that name.
const bytesPerSync = 1 << 20

const (
	// leastRest is the time of a transfer below which Rest returns at once. An SSD transfers bytesPerSync in less.
	leastRest = 5 * time.Millisecond
	// mostRest bounds a rest, so that a store closes soon.
	mostRest = 250 * time.Millisecond
)

// Rest is called by background work after a transfer, with the time that the transfer took. It sleeps for as long, so
// that the work takes half of a slow disk's time at most. A short transfer needs no rest.
func Rest(took time.Duration) {
	if took >= leastRest {
		time.Sleep(min(took, mostRest))
	}
}

// Writeback writes the bytes of a growing file to the disk while the file is written.
type Writeback struct {
	File  *os.File       // may be opened for reading only
	Write func(*os.File) // WriteDirty; tests count its calls

	n int // bytes since the last call
}

// Wrote is called after n bytes were written to the file. After bytesPerSync of them it waits until the disk has them.
// That doesn't make them durable, and reports no errors: a sync of the complete file does both.
func (w *Writeback) Wrote(n int) {
	w.n += n
	if w.n >= bytesPerSync {
		w.n = 0
		w.Write(w.File)
	}
}

// PacedFile is a file that background work writes: it is written to the disk meanwhile, with rests.
type PacedFile struct {
	*os.File
	writeback Writeback
}

// NewPacedFile returns a PacedFile.
func NewPacedFile(file *os.File) *PacedFile {
	return &PacedFile{file, Writeback{File: file, Write: WriteDirty}}
}

// WriteAt implements io.WriterAt.
func (f *PacedFile) WriteAt(b []byte, at int64) (int, error) {
	begun := time.Now()
	n, err := f.File.WriteAt(b, at)
	f.writeback.Wrote(n)
	Rest(time.Since(begun))
	return n, err
}

// PacedReader returns a reader that rests after each read of r.
func PacedReader(r io.Reader) io.Reader { return &pacedReader{r} }

type pacedReader struct{ r io.Reader }

func (p *pacedReader) Read(b []byte) (int, error) {
	begun := time.Now()
	n, err := p.r.Read(b)
	Rest(time.Since(begun))
	return n, err
}
