package segment

import (
	"encoding/binary"
	"fmt"
	"os"
)

const (
	bucketBits = 8
	buckets    = 1 << bucketBits
	// spillAt is the number of hashes kept in memory, 8 bytes each: 2 MiB, because a seal and a compaction may run at
	// once. Beyond it, a bucket that fills a chunk is written to a file.
	spillAt = 1 << 18
	// chunk is the number of hashes of one bucket in a write, 8 KiB; all buckets together keep up to 2 MiB.
	chunk = 1024
)

// hashes collects any number of prefix hashes in bounded memory, in buckets by their highest bits. Hashes that exceed
// the memory go to the file at path, which exists from the first such hash until close.
type hashes struct {
	path    string
	spillAt int
	n       int64
	inMem   int
	buckets [buckets]bucket
	file    *os.File
	end     int64 // of the file
	buf     []byte
}

type bucket struct {
	inMem   []uint64
	spilled []int64 // offsets of its chunks in the file
}

func newHashes(path string) *hashes { return &hashes{path: path, spillAt: spillAt} }

func (h *hashes) add(hash uint64) error {
	h.n++
	b := &h.buckets[hash>>(64-bucketBits)]
	b.inMem = append(b.inMem, hash)
	h.inMem++
	if h.inMem <= h.spillAt || len(b.inMem) < chunk {
		return nil
	}
	return h.spill(b)
}

// spill writes the full chunks of a bucket to the file.
func (h *hashes) spill(b *bucket) error {
	if h.file == nil {
		f, err := os.Create(h.path)
		if err != nil {
			return fmt.Errorf("spill hashes: %w", err)
		}
		h.file = f
	}
	rest := len(b.inMem) % chunk
	for i := 0; i+chunk <= len(b.inMem); i += chunk {
		h.buf = h.buf[:0]
		for _, hash := range b.inMem[i : i+chunk] {
			h.buf = binary.LittleEndian.AppendUint64(h.buf, hash)
		}
		if _, err := h.file.Write(h.buf); err != nil {
			return fmt.Errorf("spill hashes: %w", err)
		}
		b.spilled = append(b.spilled, h.end)
		h.end += int64(len(h.buf))
	}
	h.inMem -= len(b.inMem) - rest
	b.inMem = b.inMem[:copy(b.inMem, b.inMem[len(b.inMem)-rest:])]
	return nil
}

// each calls use for the hashes of a bucket, in no particular order.
func (h *hashes) each(bucket int, use func(hash uint64)) error {
	b := &h.buckets[bucket]
	for _, at := range b.spilled {
		h.buf = append(h.buf[:0], make([]byte, chunk*8)...)
		if _, err := h.file.ReadAt(h.buf, at); err != nil {
			return fmt.Errorf("read spilled hashes: %w", err)
		}
		for i := 0; i < len(h.buf); i += 8 {
			use(binary.LittleEndian.Uint64(h.buf[i:]))
		}
	}
	for _, hash := range b.inMem {
		use(hash)
	}
	return nil
}

// close removes the file.
func (h *hashes) close() {
	if h.file != nil {
		_ = h.file.Close()
		_ = os.Remove(h.path)
	}
}
