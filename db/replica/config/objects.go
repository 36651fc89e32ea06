package config

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// Objects reads and writes small files beneath a replica's path. Litestream's clients handle LTX files only, and none
// of them can create a file on the condition that it does not exist. Names have slashes.
type Objects interface {
	// List returns the names of the files in a directory, without the directory. A missing directory has none.
	List(ctx context.Context, dir string) ([]string, error)
	// Read returns fs.ErrNotExist for a missing file.
	Read(ctx context.Context, name string) ([]byte, error)
	// Create returns fs.ErrExist if the file exists.
	Create(ctx context.Context, name string, data []byte) error
	// Write replaces the contents of a file, or creates it.
	Write(ctx context.Context, name string, data []byte) error
	// Missing returns those of the names that do not exist. All of them are beneath dir.
	Missing(ctx context.Context, dir string, names []string) ([]string, error)
	Close() error
}

// NewObjects returns the small files beneath the replica's path. Connections are opened by the first request.
func NewObjects(c Config) (Objects, error) {
	switch c.Type {
	case "file":
		return &dirObjects{root: c.Path}, nil
	case "s3":
		return &s3Objects{cfg: c}, nil
	case "sftp":
		return &sftpObjects{cfg: c}, nil
	}
	return nil, fmt.Errorf("replica: no files for the type %q", c.Type)
}

// SnapshotTXID is the only transaction of a file that never changes: its replica is one snapshot.
const SnapshotTXID = ltx.TXID(1)

// FileOf returns the name of the one file of an immutable database at sub, beneath the replica's path.
func FileOf(c Config, sub string) string {
	if c.Type == "s3" {
		return path.Join(sub, fmt.Sprintf("%04x", litestream.SnapshotLevel),
			ltx.FormatFilename(SnapshotTXID, SnapshotTXID))
	}
	return litestream.LTXFilePath(sub, litestream.SnapshotLevel, SnapshotTXID, SnapshotTXID)
}

// notAmong returns those of names that are not in a listing of dir.
func notAmong(listed []string, dir string, names []string) []string {
	exists := map[string]bool{}
	for _, name := range listed {
		exists[name] = true
	}
	var missing []string
	for _, name := range names {
		if !exists[strings.TrimPrefix(name, dir+"/")] {
			missing = append(missing, name)
		}
	}
	return missing
}

// boundedObjects cancels each request that takes longer than its stall timeout: each request is of one small file or of
// one listing. Without it, a renewal of the lease and the check before each upload would wait forever for a store that
// accepts a request and does not answer.
type boundedObjects struct {
	Objects
	stallTimeout time.Duration
	abandoned    atomic.Int64 // canceled requests that have not returned
}

// BoundObjects bounds the requests of objects, each by the stall timeout.
func BoundObjects(o Objects, stallTimeout time.Duration) Objects {
	return &boundedObjects{Objects: o, stallTimeout: stallTimeout}
}

// callObjects makes one request of bounded objects.
func callObjects[T any](
	ctx context.Context, b *boundedObjects, what string, do func(context.Context) (T, error),
) (v T, err error) {
	if b.abandoned.Load() >= maxAbandoned {
		return v, errHanging
	}
	abandon := func() { b.abandoned.Add(1) }
	late := func(T) { b.abandoned.Add(-1) }
	return withStallTimeout(ctx, &request{what: what, limit: b.stallTimeout}, do, abandon, late)
}

func (b *boundedObjects) do(ctx context.Context, what string, do func(context.Context) error) error {
	_, err := callObjects(ctx, b, what, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

func (b *boundedObjects) List(ctx context.Context, dir string) ([]string, error) {
	return callObjects(ctx, b, "list "+dir, func(ctx context.Context) ([]string, error) {
		return b.Objects.List(ctx, dir)
	})
}

func (b *boundedObjects) Read(ctx context.Context, name string) ([]byte, error) {
	return callObjects(ctx, b, "read "+name, func(ctx context.Context) ([]byte, error) {
		return b.Objects.Read(ctx, name)
	})
}

func (b *boundedObjects) Create(ctx context.Context, name string, data []byte) error {
	return b.do(ctx, "create "+name, func(ctx context.Context) error { return b.Objects.Create(ctx, name, data) })
}

func (b *boundedObjects) Write(ctx context.Context, name string, data []byte) error {
	return b.do(ctx, "write "+name, func(ctx context.Context) error { return b.Objects.Write(ctx, name, data) })
}

func (b *boundedObjects) Missing(ctx context.Context, dir string, names []string) ([]string, error) {
	return callObjects(ctx, b, "look for files in "+dir, func(ctx context.Context) ([]string, error) {
		return b.Objects.Missing(ctx, dir, names)
	})
}
