package replica

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// headerBytes is the part of a SQLite file that has the size of its pages.
const headerBytes = 18

// Upload copies an immutable SQLite file into the client's place, as a snapshot that stock litestream restore restores
// byte for byte. It does not upload a file that is already there. It returns the bytes sent. pacer rests while the file
// is read; nil: nothing does.
func Upload(ctx context.Context, client litestream.ReplicaClient, path string, pacer *disk.Pacer) (int64, error) {
	name := filepath.Base(path)
	_, ok, err := restore.Uploaded(ctx, client)
	if err != nil {
		return 0, fmt.Errorf("replica: look for %s: %w", name, err)
	}
	if ok {
		return 0, nil
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
		w.CloseWithError(encode(w, f, pacer)) // nil is io.EOF
	}()
	info, err := client.WriteLTXFile(ctx, litestream.SnapshotLevel, config.SnapshotTXID, config.SnapshotTXID, r)
	_ = r.Close()
	<-encoded
	if err != nil {
		return 0, fmt.Errorf("replica: upload %s: %w", name, err)
	}
	return info.Size, nil
}

// encode writes a SQLite file as an LTX snapshot.
func encode(w io.Writer, f *os.File, pacer *disk.Pacer) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var head [headerBytes]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	pageSize := uint32(binary.BigEndian.Uint16(head[16:]))
	if pageSize == 1 { // SQLite writes 65,536 as 1 in two bytes
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
		MinTXID: config.SnapshotTXID, MaxTXID: config.SnapshotTXID, Timestamp: info.ModTime().UnixMilli(),
	}); err != nil {
		return err
	}
	in := bufio.NewReaderSize(pacer.Reader(io.NewSectionReader(f, 0, info.Size())), 1<<20)
	page := make([]byte, pageSize)
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
