package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/config"
)

// StoredSegment is a segment of a manifest with its state in the replica.
type StoredSegment struct {
	db.ManifestFile
	Stored int64 `json:"stored_bytes"` // in the replica; 0: it is missing
	There  bool  `json:"-"`            // it is in the data directory, with the right length
}

// Plan describes a restore before it runs.
type Plan struct {
	Files         []File // in the order in which they are applied
	TXID          ltx.TXID
	Time          time.Time // of that transaction
	Manifest      *db.Manifest
	DatabaseBytes int64
	Segments      []StoredSegment
	ReadBytes     int64 // from the replica
	DiskBytes     int64 // needed in the data directory beside the present files
	FreeBytes     int64 // in the data directory; −1: it does not exist yet
}

// MemoryBytes is the approximate memory of a restore beside the process itself, whatever the index's size: buffers for
// the main database, or for the segments that are fetched at once, and SQLite's cache for the check (measured,
// docs/restore.md).
const MemoryBytes = 32 << 20

// MakePlan plans a restore to a target, from the listing of the replica and some pages of its database.
func MakePlan(ctx context.Context, src config.Source, dir string, t Target) (*Plan, error) {
	clients := config.PoolOf(src)
	client, err := clients.Client("")
	if err != nil {
		return nil, fmt.Errorf("replica: plan: %w", err)
	}
	defer clients.Release(client)
	files, err := listExact(ctx, client)
	if err != nil {
		return nil, err
	}
	p := &Plan{FreeBytes: -1}
	p.Files, err = Chain(files, t)
	if err != nil {
		return nil, fmt.Errorf("replica: plan: %w", err)
	}
	last := p.Files[len(p.Files)-1]
	p.TXID = last.Max
	p.Time = last.Time
	p.Manifest, p.DatabaseBytes, err = ReadRemoteManifest(ctx, client, p.Files)
	if err != nil {
		return nil, fmt.Errorf("replica: plan: %w", err)
	}
	p.Segments, err = storedSegments(ctx, clients, p.Manifest)
	if err != nil {
		return nil, err
	}
	p.ReadBytes = SumBytes(p.Files)
	p.DiskBytes = p.DatabaseBytes
	for i := range p.Segments {
		s := &p.Segments[i]
		info, err := os.Stat(filepath.Join(dir, "segments", s.File))
		s.There = err == nil && info.Size() == s.Bytes
		if !s.There {
			p.ReadBytes += s.Stored
			p.DiskBytes += s.Bytes
		}
	}
	if free, err := freeBytes(dir); err == nil {
		p.FreeBytes = free
	}
	return p, nil
}

// lookups is the number of segments that are looked up at once, with a connection each. An SSH server accepts ten
// connections that have not logged in yet (MaxStartups).
const lookups = 8

// storedSegments looks up the segments of a manifest in the replica.
func storedSegments(ctx context.Context, clients *config.Pool, m *db.Manifest) ([]StoredSegment, error) {
	stored := make([]StoredSegment, len(m.Segments))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, s := range m.Segments {
		stored[i].ManifestFile = s
		g.Go(func() error {
			err := clients.Use(config.SegmentSub(s.File), func(client litestream.ReplicaClient) (err error) {
				stored[i].Stored, _, err = Uploaded(ctx, client)
				return err
			})
			if err != nil {
				return fmt.Errorf("replica: look for segment %s: %w", s.File, err)
			}
			return nil
		})
	}
	return stored, g.Wait()
}
