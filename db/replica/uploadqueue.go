package replica

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/benbjohnson/litestream"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// uploadsAtOnce is the number of segments that are sent at once: a single upload would wait for the other end between
// two files.
const uploadsAtOnce = 2

// uploadQueue holds the names of the pending segments and of the segments in the replica. It is on disk, because it
// must outlive the process:
//
//	DATA/replica/KEY/pending/X.weft  a hard link to a segment to upload; the index may remove its own link
//	DATA/replica/KEY/sent/X.weft     an empty file for an uploaded segment; see collect for other contents
//	DATA/replica/KEY/checked         the index is known to be the replica's
//
// KEY is derived from the place of the replica, so that another place begins with an empty queue.
type uploadQueue struct {
	dir     string
	clients *config.Pool
	pacer   *disk.Pacer // nil: uploads never rest
	logger  *slog.Logger
	wrap    func(litestream.ReplicaClient) litestream.ReplicaClient // counts the bytes sent

	wake chan struct{}
	sent atomic.Int64 // segments since the start

	mu       sync.Mutex
	pending  map[string]*pendingUpload // by name
	progress chan struct{}             // closed when an upload ends or fails
	lastErr  error                     // of the newest upload; nil: it succeeded
}

// pendingUpload is a segment that is not in the replica yet.
type pendingUpload struct {
	bytes      int64
	referenced bool // the manifest may name it
	busy       bool // an upload is under way
}

// stateDir returns the directory of a replica's upload queue in a data directory.
func stateDir(dir string, c config.Config) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{c.Type, c.Endpoint, c.Bucket, c.Host, c.Path}, "\x00")))
	return filepath.Join(dir, "replica", hex.EncodeToString(sum[:6]))
}

// newUploadQueue reads the queue of an earlier process, and removes the queues of other replicas.
func newUploadQueue(
	dir string, cfg config.Config, clients *config.Pool, pacer *disk.Pacer, logger *slog.Logger,
	wrap func(litestream.ReplicaClient) litestream.ReplicaClient,
) (*uploadQueue, error) {
	d := &uploadQueue{dir: stateDir(dir, cfg), clients: clients, pacer: pacer, logger: logger, wrap: wrap,
		wake: make(chan struct{}, 1), pending: map[string]*pendingUpload{}, progress: make(chan struct{})}
	for _, sub := range []string{"pending", "sent"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("replica: %w", err)
		}
	}
	others, err := os.ReadDir(filepath.Dir(d.dir))
	if err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	for _, o := range others {
		if o.Name() != filepath.Base(d.dir) {
			logger.Info("the replica has moved: discarding pending uploads for the old location")
			if err := os.RemoveAll(filepath.Join(filepath.Dir(d.dir), o.Name())); err != nil {
				return nil, fmt.Errorf("replica: %w", err)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, "pending"))
	if err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("replica: %w", err)
		}
		d.pending[e.Name()] = &pendingUpload{bytes: info.Size(), referenced: true} // to be safe
	}
	return d, nil
}

func (d *uploadQueue) path(sub, name string) string { return filepath.Join(d.dir, sub, name) }

// add queues a segment. When it returns, the entry outlives the process and the segment's own name.
func (d *uploadQueue) add(path string, named bool) error {
	name := filepath.Base(path)
	if _, err := os.Stat(d.path("sent", name)); err == nil {
		return nil
	}
	if err := os.Link(path, d.path("pending", name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("replica: keep %s until it is uploaded (the file system must support hard links): %w",
			name, err)
	}
	if err := restore.SyncDir(d.path("pending", "")); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("replica: keep %s: %w", name, err)
	}
	d.mu.Lock()
	if d.pending[name] == nil {
		d.pending[name] = &pendingUpload{bytes: info.Size(), referenced: named}
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return nil
}

// knows reports whether a segment is in the queue, or is noted on disk as sent.
func (d *uploadQueue) knows(name string) bool {
	d.mu.Lock()
	pending := d.pending[name] != nil
	d.mu.Unlock()
	if pending {
		return true
	}
	_, err := os.Stat(d.path("sent", name))
	return err == nil
}

// backlog counts the pending segments.
func (d *uploadQueue) backlog() (files int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.pending {
		bytes += o.bytes
	}
	return len(d.pending), bytes
}

// wait waits until a segment is in the replica, or the newest upload has failed, or ctx ends. After that the manifest
// may name it.
func (d *uploadQueue) wait(ctx context.Context, name string) {
	for {
		d.mu.Lock()
		o := d.pending[name]
		moved := d.progress
		if o == nil || d.lastErr != nil || ctx.Err() != nil {
			if o != nil {
				o.referenced = true
			}
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
}

// uploadAll uploads all pending segments; uploadReferenced uploads those that the manifest may name. Both also wait for
// uploads that other goroutines have begun.
func (d *uploadQueue) uploadAll(ctx context.Context) error        { return d.upload(ctx, true) }
func (d *uploadQueue) uploadReferenced(ctx context.Context) error { return d.upload(ctx, false) }

func (d *uploadQueue) upload(ctx context.Context, all bool) error {
	d.mu.Lock()
	var names []string
	for name, o := range d.pending {
		if all || o.referenced {
			names = append(names, name)
		}
	}
	d.mu.Unlock()
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(firstSeq(a), firstSeq(b)), cmp.Compare(a, b))
	})
	g, ctx := errgroup.WithContext(ctx) // an unreachable store fails all uploads
	g.SetLimit(uploadsAtOnce)
	for _, name := range names {
		g.Go(func() error { return d.uploadOne(ctx, name) })
	}
	return g.Wait()
}

// uploadOne uploads a segment, or waits while another goroutine uploads it.
func (d *uploadQueue) uploadOne(ctx context.Context, name string) error {
	for {
		d.mu.Lock()
		o := d.pending[name]
		moved := d.progress
		mine := o != nil && !o.busy
		if mine {
			o.busy = true
		}
		d.mu.Unlock()
		switch {
		case o == nil:
			return nil
		case mine:
			return d.send(ctx, name, o)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("replica: wait for the upload of %s: %w", name, context.Cause(ctx))
		}
	}
}

// firstSeq returns the first log row of a segment, from its name: the oldest segment is sent first.
func firstSeq(name string) uint64 {
	first, _, _ := strings.Cut(name, "-")
	n, _ := strconv.ParseUint(first, 10, 64)
	return n
}

// send uploads one segment that no other goroutine is uploading.
func (d *uploadQueue) send(ctx context.Context, name string, o *pendingUpload) (err error) {
	err = ctx.Err()
	if err == nil {
		err = d.transfer(ctx, name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	o.busy = false
	if err == nil {
		delete(d.pending, name)
	}
	if ctx.Err() == nil {
		d.lastErr = err
	}
	close(d.progress)
	d.progress = make(chan struct{})
	return err
}

// transfer uploads one segment, and notes that the replica has it.
func (d *uploadQueue) transfer(ctx context.Context, name string) error {
	var bytes int64
	err := d.clients.Use(config.SegmentSub(name), func(client litestream.ReplicaClient) (err error) {
		bytes, err = Upload(ctx, d.wrap(client), d.path("pending", name), d.pacer)
		return err
	})
	if err != nil {
		return err
	}
	mark, err := os.Create(d.path("sent", name))
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	if err := errors.Join(mark.Close(), restore.SyncDir(d.path("sent", "")),
		os.Remove(d.path("pending", name))); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	if bytes > 0 { // otherwise the replica had it
		d.sent.Add(1)
	}
	d.logger.Debug("segment uploaded", "file", name, "bytes", bytes)
	return nil
}

// Fetch is db.Config.Fetch: it downloads a segment of the index that is missing or damaged on this machine.
func (r *Replicator) Fetch(ctx context.Context, s db.ManifestFile) error {
	dir := filepath.Join(r.cfg.Dir, "segments")
	if err := restore.EnoughSpace(dir, s.Bytes); err != nil {
		return fmt.Errorf("replica: fetch segment %s: %w", s.File, err)
	}
	if _, err := restore.FetchSegment(ctx, r.clients, s, filepath.Join(dir, s.File)); err != nil {
		return fmt.Errorf("replica: fetch segment %s: %w", s.File, err)
	}
	return restore.SyncDir(dir)
}
