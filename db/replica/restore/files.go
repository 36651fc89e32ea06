package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"
)

// SnapshotLevel is the level of snapshots: files that need no earlier database.
const SnapshotLevel = litestream.SnapshotLevel

// File is an LTX file of a replica. Applied to the database as of any transaction from Min − 1 to Max, it produces
// the database as of Max. A file with Min 1 needs no earlier database.
type File struct {
	Level int       `json:"level"` // 0: as uploaded, 1 to 8: compacted from the level below, 9: snapshots
	Min   ltx.TXID  `json:"min_txid"`
	Max   ltx.TXID  `json:"max_txid"`
	Bytes int64     `json:"bytes"`
	Time  time.Time `json:"time"` // of transaction Max, to the millisecond
}

func (f File) String() string {
	return fmt.Sprintf("level %d, %s", f.Level, ltx.FormatFilename(f.Min, f.Max))
}

// Same reports whether two files have the same name.
func (f File) Same(as File) bool { return f.Level == as.Level && f.Min == as.Min && f.Max == as.Max }

func SumBytes(files []File) (n int64) {
	for _, f := range files {
		n += f.Bytes
	}
	return n
}

func (f File) Info() *ltx.FileInfo {
	return &ltx.FileInfo{Level: f.Level, MinTXID: f.Min, MaxTXID: f.Max, Size: f.Bytes, CreatedAt: f.Time}
}

// ListFiles lists all LTX files of a database in a replica. The times are those of the store, which may differ from the
// times of the transactions: see listExact.
func ListFiles(ctx context.Context, client litestream.ReplicaClient) ([]File, error) {
	var levels [SnapshotLevel + 1][]File
	g, ctx := errgroup.WithContext(ctx)
	for level := range levels {
		g.Go(func() (err error) {
			levels[level], err = ListLevel(ctx, client, level)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("replica: list files: %w", err)
	}
	return slices.Concat(levels[:]...), nil
}

// ListLevel lists the files of a level, with the times of the listing.
func ListLevel(ctx context.Context, client litestream.ReplicaClient, level int) ([]File, error) {
	it, err := client.LTXFiles(ctx, level, 0, false)
	if err != nil {
		return nil, err
	}
	var files []File
	for it.Next() {
		f := it.Item()
		files = append(files, File{Level: level, Min: f.MinTXID, Max: f.MaxTXID, Bytes: f.Size,
			Time: f.CreatedAt.UTC()})
	}
	err = it.Err()
	if e := it.Close(); err == nil { // which returns the same error again
		err = e
	}
	return files, err
}

// listExact is ListFiles with the times of the transactions, from the files themselves. A listing has the times of the
// uploads or, in a copied replica, of the copy.
func listExact(ctx context.Context, client litestream.ReplicaClient) ([]File, error) {
	files, err := ListFiles(ctx, client)
	if err != nil {
		return nil, err
	}
	return files, exactTimes(ctx, client, files)
}

// headersAtOnce is the number of file headers that are read at once, on one connection: each takes a round trip.
const headersAtOnce = 16

// exactTimes reads the times from the files themselves. A damaged or absent file keeps the time of the listing.
func exactTimes(ctx context.Context, client litestream.ReplicaClient, files []File) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(headersAtOnce)
	for i := range files {
		f := &files[i]
		g.Go(func() error {
			h, err := readHeader(ctx, client, *f)
			var file *FileError
			switch {
			case errors.As(err, &file) && (file.Damaged() || file.gone()):
				return nil // a restore that needs the file fails with its own error
			case err != nil:
				return err
			}
			f.Time = time.UnixMilli(h.Timestamp).UTC()
			return nil
		})
	}
	return g.Wait()
}

// FileError names a file of the replica that cannot be used.
type FileError struct {
	Object string // as the replica names it
	File   File
	Err    error
}

func (e *FileError) Error() string { return fmt.Sprintf("%s: %v", e.Object, e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// Damaged reports whether the file itself is damaged, and not the connection to it. gone reports whether the file is
// absent.
func (e *FileError) Damaged() bool {
	return errors.Is(e.Err, ErrDamaged) || errors.Is(e.Err, ErrAbsent)
}
func (e *FileError) gone() bool { return errors.Is(e.Err, fs.ErrNotExist) }

// object names a file for people: stores spell the level differently.
func object(sub string, f File) string {
	if sub != "" {
		return fmt.Sprintf("%s, %s", sub, f)
	}
	return f.String()
}
