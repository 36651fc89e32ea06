package restore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/benbjohnson/litestream"

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

// Download copies the database at the client's place into a new file, which is complete or absent: it writes dst.part,
// compares it with the snapshot's checksum, syncs it and renames it. It returns the bytes of the file. ErrAbsent: there
// is no database to download.
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
		return 0, fmt.Errorf("replica: download %s: %w", filepath.Base(dst), err)
	}
	if err := errors.Join(out.Flush(), f.Sync(), f.Close()); err != nil {
		return 0, fmt.Errorf("replica: download: %w", err)
	}
	if err := os.Rename(part, dst); err != nil {
		return 0, fmt.Errorf("replica: download: %w", err)
	}
	return c.written, SyncDir(filepath.Dir(dst))
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
