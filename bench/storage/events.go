package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// eventWriter writes batches of events to a file, so that generating and storing are measured separately.
type eventWriter struct {
	file *os.File
	z    *zstd.Encoder
	buf  []byte
}

func createEvents(path string) (*eventWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(256<<10))
	return &eventWriter{file: f, z: z}, err
}

func (w *eventWriter) write(events []apply.Event) error {
	b := binary.AppendUvarint(w.buf[:0], uint64(len(events)))
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for i := range events {
		e := &events[i]
		b = binary.AppendUvarint(b, e.Seq)
		b = binary.AppendVarint(b, e.TimeUS)
		b = append(b, byte(e.Op), byte(e.Status))
		text(e.DID)
		text(e.Collection)
		text(e.Rkey)
		text(e.Rev)
		b = append(binary.AppendUvarint(b, uint64(len(e.Body))), e.Body...)
		b = binary.AppendUvarint(b, uint64(len(e.Links)))
		for _, l := range e.Links {
			text(l.Path)
			text(l.Target)
		}
	}
	w.buf = b
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(b)))
	if _, err := w.z.Write(size[:]); err != nil {
		return err
	}
	_, err := w.z.Write(b)
	return err
}

func (w *eventWriter) close() error { return errors.Join(w.z.Close(), w.file.Close()) }

// eventReader reads them, a batch at a time, into reused memory.
type eventReader struct {
	file   *os.File
	z      *zstd.Decoder
	r      *bufio.Reader
	buf    []byte
	events []apply.Event
	links  []db.Link
}

func openEvents(path string) (*eventReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	return &eventReader{file: f, z: z, r: bufio.NewReaderSize(z, 64<<10)}, err
}

// skip skips batches.
func (r *eventReader) skip(batches int) error {
	for range batches {
		if err := r.frame(); err != nil {
			return err
		}
	}
	return nil
}

func (r *eventReader) frame() error {
	var size [4]byte
	if _, err := io.ReadFull(r.r, size[:]); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if cap(r.buf) < n {
		r.buf = make([]byte, n+n/4)
	}
	r.buf = r.buf[:n]
	_, err := io.ReadFull(r.r, r.buf)
	return err
}

// next returns the next batch, valid until the following call.
func (r *eventReader) next() ([]apply.Event, error) {
	if err := r.frame(); err != nil {
		return nil, err
	}
	b := r.buf
	number := func() uint64 { v, n := binary.Uvarint(b); b = b[n:]; return v }
	signed := func() int64 { v, n := binary.Varint(b); b = b[n:]; return v }
	text := func() string {
		n := int(number())
		if n == 0 {
			return ""
		}
		s := unsafe.String(&b[0], n)
		b = b[n:]
		return s
	}
	r.events = r.events[:0]
	r.links = r.links[:0]
	for range number() {
		e := apply.Event{Seq: number(), TimeUS: signed(), Op: db.Op(b[0]), Status: db.Status(b[1])}
		b = b[2:]
		e.DID = text()
		e.Collection = text()
		e.Rkey = text()
		e.Rev = text()
		if n := int(number()); n > 0 {
			e.Body = b[:n:n]
			b = b[n:]
		}
		first := len(r.links)
		for range number() {
			r.links = append(r.links, db.Link{Path: text(), Target: text()})
		}
		if len(r.links) > first {
			e.Links = r.links[first:len(r.links):len(r.links)]
		}
		r.events = append(r.events, e)
	}
	return r.events, nil
}

func (r *eventReader) close() {
	r.z.Close()
	_ = r.file.Close()
}
