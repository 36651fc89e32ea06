package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// ReadFile reads a file of the replica and checks that its content matches its name.
func ReadFile(
	ctx context.Context, client litestream.ReplicaClient, sub string, f File, begin func(ltx.Header) error,
	page func(uint32, []byte) error,
) error {
	s := newStream(ctx, client, f.Info())
	defer func() { _ = s.Close() }()
	err := ReadLTX(s, f.Bytes, func(h ltx.Header) error {
		if h.MinTXID != f.Min || h.MaxTXID != f.Max {
			return fmt.Errorf("%w: it holds the transactions %s to %s", ErrDamaged, h.MinTXID, h.MaxTXID)
		}
		return begin(h)
	}, page)
	if err != nil {
		return &FileError{object(sub, f), f, err}
	}
	return nil
}

// readHeader reads the header of a file.
func readHeader(ctx context.Context, client litestream.ReplicaClient, f File) (h ltx.Header, err error) {
	info := f.Info()
	info.Size = min(info.Size, ltx.HeaderSize)
	s := newStream(ctx, client, info)
	defer func() { _ = s.Close() }()
	b := make([]byte, ltx.HeaderSize)
	_, err = io.ReadFull(s, b)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: it ends early", ErrDamaged)
	case err == nil:
		err = h.UnmarshalBinary(b)
		if err == nil {
			err = h.Validate()
		}
		if err != nil {
			err = fmt.Errorf("%w: its header: %w", ErrDamaged, err)
		}
	}
	if err != nil {
		return h, &FileError{object("", f), f, err}
	}
	return h, nil
}

// applied is a database that files were applied to.
type applied struct {
	pageSize int64
	pages    int64
	read     int64 // bytes of files
}

// database is a file that is restored.
type database interface {
	io.WriterAt
	Truncate(size int64) error
}

// apply writes the files of a chain to a database file, one after the other. It writes a page once for each file that
// has it. It takes the memory of one page, whatever the size of the database.
func apply(
	ctx context.Context, client litestream.ReplicaClient, files []File, to database, progress func(bytes int64),
) (applied, error) {
	var a applied
	for _, f := range files {
		var h ltx.Header
		n := int64(0)
		err := ReadFile(ctx, client, "", f, func(head ltx.Header) error {
			h = head
			if a.pageSize != 0 && a.pageSize != int64(h.PageSize) {
				return fmt.Errorf("%w: its pages have %d bytes, and those before it %d",
					ErrDamaged, h.PageSize, a.pageSize)
			}
			return nil
		}, func(number uint32, data []byte) error {
			n++
			if n%1024 == 0 {
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			_, err := to.WriteAt(data, int64(number-1)*int64(h.PageSize))
			return err
		})
		if err != nil {
			return a, err
		}
		a.pageSize = int64(h.PageSize)
		a.pages = int64(h.Commit)
		a.read += f.Bytes
		// Set the size that the database had as of the last file: the page of SQLite's locks is in no file, and may be
		// the last page.
		if err := to.Truncate(a.pages * a.pageSize); err != nil {
			return a, err
		}
		progress(f.Bytes)
	}
	return a, nil
}
