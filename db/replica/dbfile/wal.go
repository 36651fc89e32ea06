package dbfile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The format of a WAL, https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
const (
	walHeaderBytes = 32
	walFrameHeader = 24
	walMagic       = 0x377f0682 // its checksums are of little-endian words
	walVersion     = 3007000
)

// WALStart is the start of a WAL.
type WALStart struct {
	Salt  [2]uint32 // new random numbers each time the WAL is restarted
	Pages uint32    // of the database after the first frame
	First []byte    // page 1, which the first frame holds
}

// BeginWAL writes a WAL for a database that has none and that no process has open. The WAL has one frame, with page 1
// unchanged. As long as the WAL starts with the same salts, it has every later write to the database, and a replicator
// need not copy the whole database.
func BeginWAL(path string) (s WALStart, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, fmt.Errorf("replica: begin a WAL: %w", err)
	}
	defer func() { _ = f.Close() }()
	size, err := pageSizeOf(f)
	if err != nil {
		return s, fmt.Errorf("replica: begin a WAL for %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return s, fmt.Errorf("replica: begin a WAL: %w", err)
	}
	s.Pages = uint32(info.Size() / size)
	s.First = make([]byte, size)
	if _, err := f.ReadAt(s.First, 0); err != nil {
		return s, fmt.Errorf("replica: begin a WAL for %s: %w", path, err)
	}
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // it never fails
	s.Salt = [2]uint32{binary.BigEndian.Uint32(salt[:]), binary.BigEndian.Uint32(salt[4:])}
	out, err := os.OpenFile(path+"-wal", os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return s, fmt.Errorf("replica: begin a WAL: %w", err)
	}
	_, err = out.Write(s.encode())
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		_ = os.Remove(path + "-wal")
		return s, fmt.Errorf("replica: begin a WAL: %w", err)
	}
	return s, nil
}

// encode returns the header and the first frame.
func (s WALStart) encode() []byte {
	words := binary.BigEndian
	b := words.AppendUint32(nil, walMagic)
	b = words.AppendUint32(b, walVersion)
	b = words.AppendUint32(b, uint32(len(s.First)))
	b = words.AppendUint32(b, 0) // checkpoints so far
	b = words.AppendUint32(b, s.Salt[0])
	b = words.AppendUint32(b, s.Salt[1])
	sum := walSum([2]uint32{}, b)
	b = words.AppendUint32(b, sum[0])
	b = words.AppendUint32(b, sum[1])
	frame := words.AppendUint32(nil, 1)
	frame = words.AppendUint32(frame, s.Pages)
	sum = walSum(walSum(sum, frame), s.First)
	b = append(b, frame...)
	b = words.AppendUint32(b, s.Salt[0])
	b = words.AppendUint32(b, s.Salt[1])
	b = words.AppendUint32(b, sum[0])
	b = words.AppendUint32(b, sum[1])
	return append(b, s.First...)
}

// walSum continues the checksum of a WAL.
func walSum(s [2]uint32, b []byte) [2]uint32 {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += binary.LittleEndian.Uint32(b) + s[1]
		s[1] += binary.LittleEndian.Uint32(b[4:]) + s[0]
	}
	return s
}

// ReadWALStart reads the start of a database's WAL. It returns io.EOF if there is no WAL, or if its start has another
// form than BeginWAL writes.
func ReadWALStart(path string) (s WALStart, err error) {
	f, err := os.Open(path + "-wal")
	if errors.Is(err, os.ErrNotExist) {
		return s, io.EOF
	} else if err != nil {
		return s, fmt.Errorf("replica: read the WAL: %w", err)
	}
	defer func() { _ = f.Close() }()
	var head [walHeaderBytes + walFrameHeader]byte
	if _, err := f.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
		return s, io.EOF
	} else if err != nil {
		return s, fmt.Errorf("replica: read the WAL: %w", err)
	}
	words := binary.BigEndian
	size := words.Uint32(head[8:])
	frame := head[walHeaderBytes:]
	if words.Uint32(head[:]) != walMagic || words.Uint32(frame) != 1 || size < 512 || size > 65536 {
		return s, io.EOF
	}
	s = WALStart{[2]uint32{words.Uint32(head[16:]), words.Uint32(head[20:])}, words.Uint32(frame[4:]),
		make([]byte, size)}
	if _, err := f.ReadAt(s.First, int64(len(head))); errors.Is(err, io.EOF) {
		return WALStart{}, io.EOF
	} else if err != nil {
		return s, fmt.Errorf("replica: read the WAL: %w", err)
	}
	return s, nil
}

// pageSizeOf returns the size of a database's pages, in bytes.
func pageSizeOf(f *os.File) (int64, error) {
	var head [18]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0, err
	}
	size := int64(binary.BigEndian.Uint16(head[16:]))
	if size == 1 { // SQLite writes 65,536 as 1 in two bytes
		size = 65536
	}
	if size < 512 || size&(size-1) != 0 {
		return 0, fmt.Errorf("its pages have %d bytes", size)
	}
	return size, nil
}
