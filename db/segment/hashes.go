package segment

import (
	"encoding/binary"
	"fmt"
	"os"
)

const (
	bucketBits = 8
	buckets    = 1 << bucketBits
	// spillAt is how many hashes are kept in memory, 8 bytes each: 2 MiB, for a seal and a merge may be at it together.
	// Beyond it a bucket that fills its chunk goes to a file.
	spillAt = 1 << 18
	// chunk is how many hashes of one bucket are written at once, 8 KiB; the buckets hold 2 MiB together.
	chunk = 1024
)

// hashes gathers the hashes of any number of groups in bounded memory, in buckets by their highest bits. The path is
// that of the file for those that don't fit; it is there from the first that doesn't until close.
type hashes struct {
	path    string
	spillAt int
	n       int64
	held    int
	buckets [buckets]bucket
	file    *os.File
	end     int64
	buf     []byte
}

type bucket struct {
	held    []uint64
	spilled []int64 // where in the file its chunks are
}

func newHashes(path string) *hashes { return &hashes{path: path, spillAt: spillAt} }

func (h *hashes) add(hash uint64) error {
	h.n++
	b := &h.buckets[hash>>(64-bucketBits)]
	b.held = append(b.held, hash)
	h.held++
	if h.held <= h.spillAt || len(b.held) < chunk {
		return nil
	}
	return h.spill(b)
}

// spill writes the full chunks of a bucket.
func (h *hashes) spill(b *bucket) error {
	if h.file == nil {
		f, err := os.Create(h.path)
		if err != nil {
			return fmt.Errorf("spill hashes: %w", err)
		}
		h.file = f
	}
	keep := len(b.held) % chunk
	for i := 0; i+chunk <= len(b.held); i += chunk {
		h.buf = h.buf[:0]
		for _, hash := range b.held[i : i+chunk] {
			h.buf = binary.LittleEndian.AppendUint64(h.buf, hash)
		}
		if _, err := h.file.Write(h.buf); err != nil {
			return fmt.Errorf("spill hashes: %w", err)
		}
		b.spilled = append(b.spilled, h.end)
		h.end += int64(len(h.buf))
	}
	h.held -= len(b.held) - keep
	b.held = b.held[:copy(b.held, b.held[len(b.held)-keep:])]
	return nil
}

// each goes through the hashes of a bucket, in no order.
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
	for _, hash := range b.held {
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
