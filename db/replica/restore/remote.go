package restore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"

	"weft.dev/weft/db"
)

// remote is the database as of a chain's end, read directly from the replica: first the index of pages of each file,
// and then only the requested pages. So reading the manifest of a database of any size takes about ten requests. remote
// takes 16 bytes of memory for each page of the files.
type remote struct {
	ctx    context.Context
	client litestream.ReplicaClient
	files  []File
	index  []pageIndex // of each of the files
	size   int64       // of a page
	count  int64       // of pages
	cache  map[int64][]byte
	err    error // the first error; SQLite's own has fewer details
}

// pageIndex has the places of the pages of a file, in the order of their numbers.
type pageIndex struct {
	number []uint32
	offset []int64
	bytes  []uint32
}

// ReadRemoteManifest reads the manifest of the database as of the end of a chain, and the size of the database.
func ReadRemoteManifest(
	ctx context.Context, client litestream.ReplicaClient, files []File,
) (*db.Manifest, int64, error) {
	r := &remote{ctx: ctx, client: client, files: files, cache: map[int64][]byte{}}
	last := files[len(files)-1]
	h, err := readHeader(ctx, client, last)
	if err != nil {
		return nil, 0, err
	}
	r.size = int64(h.PageSize)
	r.count = int64(h.Commit)
	for _, f := range files {
		index, err := r.readIndex(f)
		if err != nil {
			return nil, 0, &FileError{object("", f), f, err}
		}
		r.index = append(r.index, index)
	}
	m, err := db.ManifestIn(ctx, r, "weft.db")
	if r.err != nil {
		err = r.err
	}
	return m, r.size * r.count, err
}

// readIndex reads the index at the end of a file: for each page its number, its offset and its length, as uvarints, up
// to a 0; then the length of the index, and the trailer.
func (r *remote) readIndex(f File) (x pageIndex, err error) {
	const tail = 8 + ltx.TrailerSize
	if f.Bytes < ltx.HeaderSize+tail {
		return x, fmt.Errorf("%w: it ends early", ErrDamaged)
	}
	end := newStream(r.ctx, r.client, f.Info())
	end.offset = f.Bytes - tail
	defer func() { _ = end.Close() }()
	var b [8]byte
	if _, err := io.ReadFull(end, b[:]); err != nil {
		return x, err
	}
	n := binary.BigEndian.Uint64(b[:])
	if n == 0 || n > uint64(f.Bytes-ltx.HeaderSize-tail) {
		return x, fmt.Errorf("%w: its index of pages", ErrDamaged)
	}
	s := newStream(r.ctx, r.client, f.Info())
	s.offset = f.Bytes - tail - int64(n)
	defer func() { _ = s.Close() }()
	in := bufio.NewReaderSize(io.LimitReader(s, int64(n)), ReadBuffer)
	most := uint64(ltx.PageHeaderSize + 4 + lz4.CompressBlockBound(int(r.size)))
	for {
		var v [3]uint64
		for i := range v {
			v[i], err = binary.ReadUvarint(in)
			if err != nil {
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					err = fmt.Errorf("%w: its index of pages", ErrDamaged)
				}
				return x, err
			}
			if i == 0 && v[0] == 0 {
				return x, nil
			}
		}
		if last := len(x.number) - 1; v[0] > 1<<32-1 || last >= 0 && v[0] <= uint64(x.number[last]) ||
			v[1] >= uint64(f.Bytes) || v[2] > most {
			return x, fmt.Errorf("%w: its index of pages", ErrDamaged)
		}
		x.number = append(x.number, uint32(v[0]))
		x.offset = append(x.offset, int64(v[1]))
		x.bytes = append(x.bytes, uint32(v[2]))
	}
}

// page reads a page from the newest file that has it.
func (r *remote) page(number int64) ([]byte, error) {
	if data, ok := r.cache[number]; ok {
		return data, nil
	}
	for i, x := range slices.Backward(r.index) {
		at, ok := slices.BinarySearch(x.number, uint32(number))
		if !ok {
			continue
		}
		f := r.files[i]
		h, data, err := litestream.FetchPage(r.ctx, r.client, f.Level, f.Min, f.Max, x.offset[at], int64(x.bytes[at]))
		if err != nil {
			return nil, &FileError{object("", f), f, err}
		}
		if int64(h.Pgno) != number || int64(len(data)) != r.size {
			return nil, &FileError{object("", f), f, fmt.Errorf("%w: page %d", ErrDamaged, number)}
		}
		r.cache[number] = data
		return data, nil
	}
	f := r.files[0] // it begins with the first transaction, so it has each page that no later file has
	return nil, &FileError{object("", f), f, fmt.Errorf("%w: its index of pages lacks page %d", ErrDamaged, number)}
}

// Open implements fs.FS with one file.
func (r *remote) Open(name string) (fs.File, error) {
	if name != "weft.db" {
		return nil, fs.ErrNotExist
	}
	return &remoteFile{remote: r}, nil
}

type remoteFile struct {
	*remote
	at int64
}

func (f *remoteFile) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	f.at = offset
	return offset, nil
}

func (f *remoteFile) Read(p []byte) (int, error) {
	if f.at >= f.size*f.count {
		return 0, io.EOF
	}
	data, err := f.page(f.at/f.size + 1)
	if err != nil {
		f.err = errors.Join(f.err, err)
		return 0, err
	}
	n := copy(p, data[f.at%f.size:])
	f.at += int64(n)
	return n, nil
}

func (f *remoteFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *remoteFile) Close() error               { return nil }
func (f *remoteFile) Name() string               { return "weft.db" }
func (f *remoteFile) Size() int64                { return f.size * f.count }
func (f *remoteFile) Mode() fs.FileMode          { return 0o444 }
func (f *remoteFile) ModTime() time.Time         { return time.Time{} }
func (f *remoteFile) IsDir() bool                { return false }
func (f *remoteFile) Sys() any                   { return nil }
