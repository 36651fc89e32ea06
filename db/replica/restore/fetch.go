package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/config"
)

// ErrAbsent means that the replica lacks the requested file.
var ErrAbsent = errors.New("not in the replica")

// Uploaded reports whether the client's place holds a complete snapshot, and its bytes. An interrupted upload leaves no
// snapshot: each kind of replica shows an object only when it is complete.
func Uploaded(ctx context.Context, client litestream.ReplicaClient) (bytes int64, ok bool, err error) {
	if err := client.Init(ctx); err != nil {
		return 0, false, err
	}
	files, err := client.LTXFiles(ctx, litestream.SnapshotLevel, 0, false)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = files.Close() }()
	for files.Next() {
		if f := files.Item(); f.MinTXID == config.SnapshotTXID && f.MaxTXID == config.SnapshotTXID {
			return f.Size, true, files.Close()
		}
	}
	return 0, false, files.Close()
}

// FetchDatabase copies the database at the client's place into a new file, and compares it with the snapshot's
// checksum. It returns the bytes of the file. ErrAbsent: there is no database.
func FetchDatabase(ctx context.Context, client litestream.ReplicaClient, path string) (n int64, err error) {
	err = writeFile(path, func(f *os.File) error {
		c, err := copySnapshot(ctx, client, filepath.Base(path), f)
		if err != nil {
			return err
		}
		n = c.written
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("replica: fetch %s: %w", filepath.Base(path), err)
	}
	return n, nil
}

// FetchSegment copies a segment of the replica into a new file, and compares it with the manifest. It returns the bytes
// read.
func FetchSegment(ctx context.Context, clients *config.Pool, s db.ManifestFile, path string) (n int64, err error) {
	err = writeFile(path, func(f *os.File) error {
		n, err = readSegment(ctx, clients, s, f)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// writeFile writes a new file, which is complete or absent. Its name is durable after SyncDir.
func writeFile(path string, write func(f *os.File) error) (err error) {
	tmp := path + ".tmp" // weft serve removes such files of segments when it starts
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(tmp)
		}
	}()
	err = write(f)
	if err != nil {
		return err
	}
	err = errors.Join(f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readSegment writes a segment of the replica to w and compares it with the manifest. It returns the bytes read.
func readSegment(ctx context.Context, clients *config.Pool, s db.ManifestFile, w io.Writer) (int64, error) {
	sub := config.SegmentSub(s.File)
	sum := sha256.New()
	var c *pageSequence
	err := clients.Use(sub, func(client litestream.ReplicaClient) (err error) {
		c, err = copySnapshot(ctx, client, sub, io.MultiWriter(sum, w))
		return err
	})
	if err != nil {
		return 0, err
	}
	if c.written != s.Bytes || hex.EncodeToString(sum.Sum(nil)) != s.Checksum {
		return 0, &FileError{sub, c.file, fmt.Errorf("%w: its SHA-256 differs from the manifest", ErrDamaged)}
	}
	return c.file.Bytes, nil
}

// copySnapshot writes the database of one snapshot at the client's place to w. name is for errors. Without a snapshot
// there, it returns a FileError with ErrAbsent.
func copySnapshot(
	ctx context.Context, client litestream.ReplicaClient, name string, w io.Writer,
) (*pageSequence, error) {
	bytes, ok, err := Uploaded(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	c := &pageSequence{w: w, file: File{Level: SnapshotLevel, Min: config.SnapshotTXID, Max: config.SnapshotTXID,
		Bytes: bytes}}
	if !ok {
		return nil, &FileError{name, c.file, ErrAbsent}
	}
	err = ReadFile(ctx, client, name, c.file, func(h ltx.Header) error {
		c.zero = make([]byte, h.PageSize)
		c.size = int64(h.PageSize)
		c.pages = int64(h.Commit)
		return nil
	}, c.page)
	if err == nil && c.written != c.pages*c.size {
		err = &FileError{name, c.file, fmt.Errorf("%w: it has %d bytes, of %d", ErrDamaged, c.written, c.pages*c.size)}
	}
	return c, err
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("replica: sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("replica: sync %s: %w", dir, err)
	}
	return nil
}

// pageSequence writes pages one after the other, with zeros for the page that SQLite keeps for its locks, which no LTX
// file has.
type pageSequence struct {
	file    File
	w       io.Writer
	zero    []byte
	size    int64 // of a page
	pages   int64
	written int64 // bytes
}

func (s *pageSequence) page(number uint32, data []byte) error {
	next := func() uint32 { return uint32(s.written/s.size) + 1 }
	if next() == ltx.LockPgno(uint32(s.size)) && number > next() {
		if err := s.put(s.zero); err != nil {
			return err
		}
	}
	if number != next() {
		return fmt.Errorf("%w: found page %d, expected %d", ErrDamaged, number, next())
	}
	return s.put(data)
}

func (s *pageSequence) put(data []byte) error {
	s.written += s.size
	_, err := s.w.Write(data)
	return err
}
