package replica

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// A file that never changes is a database with one transaction, and that one snapshot is all of its replica.
const (
	soleTXID = ltx.TXID(1)
	// headerBytes is how much of a SQLite file tells the size of its pages.
	headerBytes = 18
)

// ErrAbsent says that the replica doesn't hold what was asked for.
var ErrAbsent = errors.New("not in the replica")

// Uploaded says whether the client's place holds a whole snapshot, and of how many bytes. An upload that was broken off
// leaves none: each kind of replica shows an object only when it is complete.
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
		if f := files.Item(); f.MinTXID == soleTXID && f.MaxTXID == soleTXID {
			return f.Size, true, files.Close()
		}
	}
	return 0, false, files.Close()
}

// Upload copies an immutable SQLite file into the client's place, as a snapshot that stock litestream restore restores byte
// for byte. What is there already isn't sent again. It answers the bytes sent.
func Upload(ctx context.Context, client litestream.ReplicaClient, path string) (int64, error) {
	if _, ok, err := Uploaded(ctx, client); err != nil || ok {
		return 0, wrap("look for", path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("replica: upload: %w", err)
	}
	defer func() { _ = f.Close() }()
	r, w := io.Pipe()
	encoded := make(chan struct{})
	go func() {
		defer close(encoded)
		w.CloseWithError(encode(w, f)) // nil is io.EOF
	}()
	info, err := client.WriteLTXFile(ctx, litestream.SnapshotLevel, soleTXID, soleTXID, r)
	_ = r.Close()
	<-encoded
	if err != nil {
		return 0, wrap("upload", path, err)
	}
	return info.Size, nil
}

// encode writes a SQLite file as an LTX snapshot.
func encode(w io.Writer, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var head [headerBytes]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	pageSize := uint32(binary.BigEndian.Uint16(head[16:]))
	if pageSize == 1 { // SQLite's way to say 65,536 in two bytes
		pageSize = 65536
	}
	if !ltx.IsValidPageSize(pageSize) || info.Size() == 0 || info.Size()%int64(pageSize) != 0 {
		return fmt.Errorf("%s is not a complete SQLite file: %d bytes in pages of %d", f.Name(), info.Size(), pageSize)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	enc, err := ltx.NewEncoder(out)
	if err != nil {
		return err
	}
	pages := info.Size() / int64(pageSize)
	if pages > int64(^uint32(0)) {
		return fmt.Errorf("%s has more pages than SQLite knows", f.Name())
	}
	if err := enc.EncodeHeader(ltx.Header{
		Version: ltx.Version, Flags: ltx.HeaderFlagNoChecksum, PageSize: pageSize, Commit: uint32(pages),
		MinTXID: soleTXID, MaxTXID: soleTXID, Timestamp: info.ModTime().UnixMilli(),
	}); err != nil {
		return err
	}
	in, page := bufio.NewReaderSize(io.NewSectionReader(f, 0, info.Size()), 1<<20), make([]byte, pageSize)
	for pgno := uint32(1); pgno <= uint32(pages); pgno++ {
		if _, err := io.ReadFull(in, page); err != nil {
			return fmt.Errorf("read page %d: %w", pgno, err)
		}
		if pgno == ltx.LockPgno(pageSize) {
			continue // SQLite leaves it empty, and LTX leaves it out
		}
		if err := enc.EncodePage(ltx.PageHeader{Pgno: pgno}, page); err != nil {
			return err
		}
	}
	if err := enc.Close(); err != nil {
		return err
	}
	return out.Flush()
}

// Download copies the client's place into a new file, in the way that leaves none or a whole one: it is written as
// dst.part, held against the snapshot's checksum, synced and renamed. It answers the bytes of the file. ErrAbsent: there is
// nothing to download.
func Download(ctx context.Context, client litestream.ReplicaClient, dst string) (n int64, err error) {
	part := dst + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, fmt.Errorf("replica: download: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(part)
		}
	}()
	out := bufio.NewWriterSize(f, 1<<20)
	c, err := copySnapshot(ctx, client, filepath.Base(dst), out)
	if err != nil {
		return 0, wrap("download", dst, err)
	}
	if err := errors.Join(out.Flush(), f.Sync(), f.Close()); err != nil {
		return 0, fmt.Errorf("replica: download: %w", err)
	}
	if err := os.Rename(part, dst); err != nil {
		return 0, fmt.Errorf("replica: download: %w", err)
	}
	return c.written, syncDir(filepath.Dir(dst))
}

// syncDir makes the names in a directory outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("replica: sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("replica: sync %s: %w", dir, err)
	}
	return nil
}

func wrap(what, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("replica: %s %s: %w", what, filepath.Base(path), err)
}
