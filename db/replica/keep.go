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
)

// uploads is how many segments are sent at once: one alone waits for the other end between two files.
const uploads = 2

// debt is the segments that the replica is to have: those on their way there, and those that it has. It lies on disk, for it
// must outlive the process:
//
//	DATA/replica/KEY/pending/X.weft  a hard link to a segment that is not in the replica yet; the index may drop its own
//	DATA/replica/KEY/sent/X.weft     an empty file for a segment that is; see collect for what may be in it
//	DATA/replica/KEY/checked         the index is known to be the replica's
//
// KEY stands for the place of the replica, so that another place begins with nothing.
type debt struct {
	dir    string
	cfg    Config
	logger *slog.Logger
	wrap   func(litestream.ReplicaClient) litestream.ReplicaClient // counts what is sent

	wake chan struct{}
	sent atomic.Int64 // segments since the start

	mu      sync.Mutex
	pending map[string]*owed           // by name
	moved   chan struct{}              // closed when an upload ends, well or not
	trouble error                      // of the newest upload; nil: it went well
	idle    []litestream.ReplicaClient // for uploads, with their connections
}

// owed is a segment that is on its way.
type owed struct {
	bytes int64
	named bool // the manifest may name it
	busy  bool // it is being uploaded
}

// stateDir is where the debt to a replica lies in a data directory.
func stateDir(dir string, c Config) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{c.Type, c.Endpoint, c.Bucket, c.Host, c.Path}, "\x00")))
	return filepath.Join(dir, "replica", hex.EncodeToString(sum[:6]))
}

// newDebt reads what an earlier process has left, and puts away what is owed to other places.
func newDebt(dir string, cfg Config, logger *slog.Logger, wrap func(litestream.ReplicaClient) litestream.ReplicaClient) (*debt, error) {
	d := &debt{dir: stateDir(dir, cfg), cfg: cfg, logger: logger, wrap: wrap, wake: make(chan struct{}, 1),
		pending: map[string]*owed{}, moved: make(chan struct{})}
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
		d.pending[e.Name()] = &owed{bytes: info.Size(), named: true} // for all that is known
	}
	return d, nil
}

func (d *debt) path(sub, name string) string { return filepath.Join(d.dir, sub, name) }

// add owes a segment. When it returns, the debt outlives the process and the segment's own name.
func (d *debt) add(path string, named bool) error {
	name := filepath.Base(path)
	if _, err := os.Stat(d.path("sent", name)); err == nil {
		return nil
	}
	if err := os.Link(path, d.path("pending", name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("replica: keep %s until it is uploaded (the file system must support hard links): %w", name, err)
	}
	if err := syncDir(d.path("pending", "")); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("replica: keep %s: %w", name, err)
	}
	d.mu.Lock()
	if d.pending[name] == nil {
		d.pending[name] = &owed{bytes: info.Size(), named: named}
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return nil
}

// owes counts the segments that are on their way.
func (d *debt) owes() (files int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.pending {
		bytes += o.bytes
	}
	return len(d.pending), bytes
}

// await waits until a segment is in the replica, or the newest upload has failed, or ctx ends. The manifest may name it then.
func (d *debt) await(ctx context.Context, name string) {
	for {
		d.mu.Lock()
		o, moved := d.pending[name], d.moved
		if o == nil || d.trouble != nil || ctx.Err() != nil {
			if o != nil {
				o.named = true
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

// pay uploads all that is owed at this moment; settle, what of it the manifest may name. What another is uploading they wait
// for.
func (d *debt) pay(ctx context.Context) error    { return d.upload(ctx, true) }
func (d *debt) settle(ctx context.Context) error { return d.upload(ctx, false) }

func (d *debt) upload(ctx context.Context, all bool) error {
	d.mu.Lock()
	var names []string
	for name, o := range d.pending {
		if all || o.named {
			names = append(names, name)
		}
	}
	d.mu.Unlock()
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(fromSeq(a), fromSeq(b)), cmp.Compare(a, b)) })
	g, ctx := errgroup.WithContext(ctx) // a store that is away is away for the others too
	g.SetLimit(uploads)
	for _, name := range names {
		g.Go(func() error { return d.one(ctx, name) })
	}
	return g.Wait()
}

// one uploads a segment, or waits while another does.
func (d *debt) one(ctx context.Context, name string) error {
	for {
		d.mu.Lock()
		o, moved := d.pending[name], d.moved
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

// fromSeq is the first log row of a segment, by its name: the oldest is sent first.
func fromSeq(name string) uint64 {
	first, _, _ := strings.Cut(name, "-")
	n, _ := strconv.ParseUint(first, 10, 64)
	return n
}

// send uploads one segment that nobody else is uploading.
func (d *debt) send(ctx context.Context, name string, o *owed) (err error) {
	if err = ctx.Err(); err == nil {
		err = d.transfer(ctx, name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	o.busy = false
	if err == nil {
		delete(d.pending, name)
	}
	if ctx.Err() == nil {
		d.trouble = err
	}
	close(d.moved)
	d.moved = make(chan struct{})
	return err
}

// transfer uploads one segment, and remembers that it is there.
func (d *debt) transfer(ctx context.Context, name string) error {
	client, err := d.client(name)
	if err != nil {
		return err
	}
	bytes, err := Upload(ctx, d.wrap(client), d.path("pending", name))
	d.mu.Lock()
	d.idle = append(d.idle, client)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	mark, err := os.Create(d.path("sent", name))
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	if err := errors.Join(mark.Close(), syncDir(d.path("sent", "")), os.Remove(d.path("pending", name))); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	if bytes > 0 { // else it was there
		d.sent.Add(1)
	}
	d.logger.Debug("segment uploaded", "file", name, "bytes", bytes)
	return nil
}

// client is a client of a segment's place: one that was used before, where there is one, for its connections.
func (d *debt) client(name string) (litestream.ReplicaClient, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.idle); n > 0 {
		client := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return d.cfg.retarget(client, SegmentSub(name))
	}
	return d.cfg.Client(SegmentSub(name))
}
