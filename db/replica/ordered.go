package replica

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// orderedClient is the client of the main database. Before it writes a file of the database that may name a segment, it
// uploads all segments that the database can name: a segment enters the queue before the transaction that names it
// begins, and the file was read from the database before the write. So no restore point names a segment that the
// replica lacks.
//
// It refuses all writes once another process has the replica: Litestream's own loops run until the process ends.
type orderedClient struct {
	litestream.ReplicaClient
	r *Replicator
}

// WriteLTXFile implements litestream.ReplicaClient.
func (g orderedClient) WriteLTXFile(
	ctx context.Context, level int, minTXID, maxTXID ltx.TXID, r io.Reader,
) (*ltx.FileInfo, error) {
	if err := g.r.fence.reason(); err != nil {
		return nil, err
	}
	// Other levels are made from files of the replica.
	if level == 0 || level == litestream.SnapshotLevel {
		err := g.r.queue.uploadReferenced(ctx)
		if err != nil {
			return nil, fmt.Errorf("what names segments waits for them: %w", err)
		}
	}
	if err := g.r.confirmLease(ctx); err != nil {
		return nil, err
	}
	ctx, end := g.r.lease.bound(ctx)
	defer end()
	name := fileName{level, minTXID, maxTXID}
	g.r.rememberWritten(name, unknownLength)
	info, err := counted{g.ReplicaClient, &g.r.sent}.WriteLTXFile(ctx, level, minTXID, maxTXID, g.r.paced(level, r))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	g.r.rememberWritten(name, info.Size)
	if level == 0 {
		path := ""
		if f, ok := r.(*os.File); ok { // an LTX file on this disk; otherwise a copy of the database
			path = f.Name()
		}
		g.r.noteSent(maxTXID, path)
	}
	return info, nil
}

// paced returns the reader of a new file of a level. Litestream makes a file of level 1 and above from files on this
// disk, up to an hour of them, and rests as a compaction of segments does: without rests commits waited for nine
// seconds on a volume of 16 MiB/s. A snapshot does not rest, because the WAL is not checkpointed meanwhile.
func (r *Replicator) paced(level int, from io.Reader) io.Reader {
	if level == 0 || level == litestream.SnapshotLevel {
		return from
	}
	return r.cfg.Pacer.Reader(from)
}

// DeleteLTXFiles implements litestream.ReplicaClient.
func (g orderedClient) DeleteLTXFiles(ctx context.Context, files []*ltx.FileInfo) error {
	if len(files) == 0 {
		return nil
	}
	if err := g.r.confirmLease(ctx); err != nil {
		return err
	}
	ctx, end := g.r.lease.bound(ctx)
	defer end()
	if err := g.ReplicaClient.DeleteLTXFiles(ctx, files); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}

// LTXFiles implements litestream.ReplicaClient. A compaction lists the files of the level below from transaction seek
// on, and cannot pass a gap between two of them: it gets the files before the gap, and the next compaction those after
// it. Files that vanished behind a snapshot leave such gaps. All other listings begin at 0 and are complete.
func (g orderedClient) LTXFiles(
	ctx context.Context, level int, seek ltx.TXID, useMetadata bool,
) (ltx.FileIterator, error) {
	files, err := g.ReplicaClient.LTXFiles(ctx, level, seek, useMetadata)
	if err != nil || seek == 0 {
		return files, err
	}
	return &contiguousFiles{FileIterator: files}, nil
}

// contiguousFiles iterates over a listing up to its first gap.
type contiguousFiles struct {
	ltx.FileIterator
	end ltx.TXID // the newest transaction so far; 0: there is no file yet
}

// Next implements ltx.FileIterator.
func (c *contiguousFiles) Next() bool {
	if !c.FileIterator.Next() {
		return false
	}
	file := c.Item()
	if c.end > 0 && file.MinTXID > c.end+1 {
		return false
	}
	c.end = max(c.end, file.MaxTXID)
	return true
}

// counted counts the bytes that a client sends.
type counted struct {
	litestream.ReplicaClient
	sent *atomic.Int64
}

// WriteLTXFile implements litestream.ReplicaClient.
func (c counted) WriteLTXFile(
	ctx context.Context, level int, minTXID, maxTXID ltx.TXID, r io.Reader,
) (*ltx.FileInfo, error) {
	if f, ok := r.(*os.File); ok {
		return c.ReplicaClient.WriteLTXFile(ctx, level, minTXID, maxTXID, &countedFile{f, c.sent})
	}
	return c.ReplicaClient.WriteLTXFile(ctx, level, minTXID, maxTXID, &countedReader{r, c.sent})
}

type countedReader struct {
	r    io.Reader
	sent *atomic.Int64
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.sent.Add(int64(n))
	return n, err
}

// countedFile also implements io.Seeker, because a retried upload reads the file again.
type countedFile struct {
	f    *os.File
	sent *atomic.Int64
}

func (c *countedFile) Read(b []byte) (int, error) {
	n, err := c.f.Read(b)
	c.sent.Add(int64(n))
	return n, err
}

func (c *countedFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.f.ReadAt(b, at)
	c.sent.Add(int64(n))
	return n, err
}

func (c *countedFile) Seek(offset int64, whence int) (int64, error) { return c.f.Seek(offset, whence) }
