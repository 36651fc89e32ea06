package disk

import (
	"io"
	"os"
	"sync"
	"time"
)

// Pacer leaves a slow disk to commits and queries. Compactions, uploads of segments and verifications of the replica
// read and write whole files, and their requests are in the same queue. Each of them rests after a transfer. The zero
// Pacer is ready for use; with a nil Pacer nothing rests. Its methods are safe for concurrent use.
//
// Measured on a volume of 16 MiB/s with a thousand live events a second (docs/machines.md): without rests a commit
// waited for two minutes.
type Pacer struct {
	mu      sync.Mutex
	commits int           // under way
	ended   chan struct{} // closed when none is under way any more
}

const (
	// leastRest is the time of a transfer below which nothing rests. An SSD transfers bytesPerSync in less.
	leastRest = 5 * time.Millisecond
	// mostRest bounds a rest. With the wait for a commit that is 1.25 s, for which a store that closes waits.
	mostRest = 250 * time.Millisecond
	// commitRests bounds the wait for a commit, in rests: the commits of a replay follow each other without a pause, and
	// a compaction still gets a sixth of the time of a slow disk.
	commitRests = 4
	// pacedRead is the number of bytes that a paced reader reads at once. A volume of 16 MiB/s reads them in 16 ms.
	pacedRead = 256 << 10
)

// BeginCommit is called when a commit begins.
func (p *Pacer) BeginCommit() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.commits == 0 {
		p.ended = make(chan struct{})
	}
	p.commits++
}

// EndCommit is called when it ends.
func (p *Pacer) EndCommit() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commits--
	if p.commits == 0 {
		close(p.ended)
	}
}

// Rest is called after a transfer, with the time that it took. It sleeps for as long, and then until no commit is under
// way, within bounds. A short transfer needs no rest.
func (p *Pacer) Rest(took time.Duration) {
	if p == nil || took < leastRest {
		return
	}
	rest := min(took, mostRest)
	time.Sleep(rest)
	p.mu.Lock()
	commits := p.commits
	ended := p.ended
	p.mu.Unlock()
	if commits == 0 {
		return
	}
	timer := time.NewTimer(commitRests * rest)
	defer timer.Stop()
	select {
	case <-ended:
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

// PacedFile is a file with a Writeback, and rests after writes. With a nil Pacer it has neither.
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
	if err == nil && f.pacer != nil {
		err = f.writeback.Wrote(n)
	}
	f.pacer.Rest(time.Since(begun))
	return n, err
}
