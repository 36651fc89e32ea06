package disk

import (
	"io"
	"os"
	"sync"
	"time"
)

// bytesPerSync is the number of bytes after which a Writeback writes them to the disk. A volume of 16 MiB/s writes them
// in 60 ms. Without it, the sync of a complete file queues all of its bytes before the next write of a commit. RocksDB
// advises the same number for its option of that name.
const bytesPerSync = 1 << 20

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

// Pacer leaves a slow disk to commits and queries. Compactions, uploads of segments and verifications of the replica
// read and write whole files, and their requests are in the same queue. They rest after each transfer. The zero Pacer
// is ready for use; a nil Pacer never rests. Its methods are safe for concurrent use.
//
// Measured on a volume of 16 MiB/s with a thousand live events a second (docs/machines.md): without rests a commit
// waited for two minutes.
type Pacer struct {
	mu     sync.Mutex
	commit chan struct{} // closed at the end of the commit that is under way; nil: none is
}

const (
	// leastRest is the time of a transfer below which nothing rests. An SSD transfers bytesPerSync in less.
	leastRest = 5 * time.Millisecond
	// mostRest bounds a rest, so that a store closes soon.
	mostRest = 250 * time.Millisecond
	// commitRests bounds the wait for a commit, in rests. Commits of a replay follow each other without a pause, and
	// compactions must keep up: of 16 MiB/s they get a sixth then, 2.8 MB/s. 10,000 events a second need 1.8.
	commitRests = 4
	// pacedRead is the number of bytes that a paced reader reads at once. A volume of 16 MiB/s reads them in 16 ms.
	pacedRead = 256 << 10
)

// BeginCommit is called when a commit begins. One commit is under way at a time.
func (p *Pacer) BeginCommit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commit = make(chan struct{})
}

// EndCommit is called when it ends.
func (p *Pacer) EndCommit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.commit)
	p.commit = nil
}

// Rest is called after a transfer, with the time that it took. It sleeps for as long, and then until a commit that is
// under way has ended, within bounds. A short transfer needs no rest.
func (p *Pacer) Rest(took time.Duration) {
	if p == nil || took < leastRest {
		return
	}
	rest := min(took, mostRest)
	time.Sleep(rest)
	p.mu.Lock()
	commit := p.commit
	p.mu.Unlock()
	if commit == nil {
		return
	}
	timer := time.NewTimer(commitRests * rest)
	defer timer.Stop()
	select {
	case <-commit:
	case <-timer.C:
	}
}

// Reader returns a reader that rests after each read of r.
func (p *Pacer) Reader(r io.Reader) io.Reader { return pacedReader{p, r} }

type pacedReader struct {
	pacer *Pacer
	r     io.Reader
}

func (p pacedReader) Read(b []byte) (int, error) {
	if p.pacer != nil {
		b = b[:min(len(b), pacedRead)]
	}
	begun := time.Now()
	n, err := p.r.Read(b)
	p.pacer.Rest(time.Since(begun))
	return n, err
}

// PacedFile is a file that is written to the disk while it is written, with rests.
type PacedFile struct {
	*os.File
	pacer     *Pacer
	writeback Writeback
}

// File returns a PacedFile.
func (p *Pacer) File(file *os.File) *PacedFile {
	return &PacedFile{file, p, Writeback{File: file, Write: WriteDirty}}
}

// WriteAt implements io.WriterAt.
func (f *PacedFile) WriteAt(b []byte, at int64) (int, error) {
	begun := time.Now()
	n, err := f.File.WriteAt(b, at)
	f.writeback.Wrote(n)
	f.pacer.Rest(time.Since(begun))
	return n, err
}
