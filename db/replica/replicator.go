// Package replica keeps a copy of an index outside its disk: in a directory, in a bucket or on another host, in
// Litestream's format, so that stock Litestream restores all of it. A Replicator uploads an index. A Follower keeps a
// copy and answers queries from it.
//
// A replica lies beneath one path:
//
//	PATH                  weft.db, continuously, as stock Litestream writes it
//	PATH/segments/X.weft  each segment once, as a database with one snapshot
//	PATH/instance         the index that the replica belongs to: a database with one row
//	PATH/lease/N          the process that writes there: the file with the highest number
//
// Only this package and the packages beneath it import Litestream, whose library may change with any version.
package replica

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/panics"
	"weft.dev/weft/db/replica/config"
)

// ReplicatorConfig configures a replicator.
type ReplicatorConfig struct {
	Replica config.Config // the destination. Required; its DB is the weft.db of Dir.
	Dir     string        // the data directory. Required.
	// Restore fills the data directory from the replica when it has no database. Nil: Prepare refuses a replica without
	// a local database. Restore gets the lock of the data directory, for restore.Options.Lock.
	Restore func(ctx context.Context, lock *dirlock.Lock) error
	Pacer   *disk.Pacer      // rests during uploads of segments; nil: nothing does
	Logger  *slog.Logger     // nil: none
	Now     func() time.Time // nil: time.Now

	lease   leaseTimes                          // zero: the default
	objects func(config.Objects) config.Objects // wraps the lease's; nil: nothing
	polls   func(pollFunc) pollFunc             // wraps the polls of Run; nil: nothing

	closeTimeout time.Duration // of each step of Close; 0: closeTimeout
}

// Replicator keeps a replica of an index that this process writes. Call in this order: Prepare, before the index is
// opened; Open, with the index; Run; Flush, after the last write; Release, before the index is closed; Close, after it.
type Replicator struct {
	cfg   ReplicatorConfig
	queue *uploadQueue
	sent  atomic.Int64 // bytes sent to the replica, including those of failed uploads

	// client is the client of the replica's database. All requests share it, because each client keeps its own
	// connection.
	client  litestream.ReplicaClient
	clients *config.Pool // clients of all other databases in the replica

	lock  *dirlock.Lock // the data directory, from Prepare until the store takes it over
	index index
	local *litestream.DB // Litestream's local state of the database
	store *litestream.Store
	fence fence
	lease *lease

	process string        // identifies this process in the lease
	pollNow chan struct{} // asks for a poll of the replica

	levels litestream.CompactionLevels
	begun  chan struct{} // closed by the first LTX file: compaction has input
	began  sync.Once

	cutNow   chan struct{} // watchWAL asks for a cut
	cutBytes atomic.Int64  // index.WALBytes at the last cut

	stopped chan struct{} // OnSegment no longer waits
	release sync.Once

	mu    sync.Mutex
	state progress
}

// index is the part of a store that a replicator uses.
type index interface {
	Seq() uint64
	WALBytes() int64 // written to the WAL since the index was opened
	Instance() string
	SegmentPaths() []string
}

const (
	defaultSync = time.Second
	// After a failure the first pause is a second. Each pause is twice as long as the one before, up to these.
	minBackoff = time.Second
	maxBackoff = 15 * time.Second
	// closeTimeout bounds each step of Close: the last upload, and the release of the lease.
	closeTimeout = 5 * time.Second
	// prepareTimeout bounds the check of the replica before the index is opened.
	prepareTimeout = time.Minute
)

// New returns a Replicator. It reads and writes nothing.
func New(cfg ReplicatorConfig) *Replicator {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Replica.SyncInterval = cmp.Or(cfg.Replica.SyncInterval, defaultSync)
	cfg.lease = cmp.Or(cfg.lease, defaultLeaseTimes)
	cfg.closeTimeout = cmp.Or(cfg.closeTimeout, closeTimeout)
	return &Replicator{cfg: cfg, clients: config.PoolOf(cfg.Replica), stopped: make(chan struct{}),
		begun: make(chan struct{}), cutNow: make(chan struct{}, 1), pollNow: make(chan struct{}, 1), process: rand.Text()}
}

// OnSegment is db.Config.OnSegment: it adds a segment to the upload queue. After a compaction it also waits for the
// upload while the replica is reachable, because no request waits for a compaction. So no other caller has to wait for
// the upload.
func (r *Replicator) OnSegment(path string, merged bool) error {
	if r.fence.reason() != nil {
		return nil
	}
	if err := r.queue.add(path, !merged); err != nil || !merged {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	r.queue.wait(ctx, filepath.Base(path))
	return nil
}

// Open begins to replicate an index, which is open by now.
func (r *Replicator) Open(ctx context.Context, x index) error {
	r.index = x
	for _, path := range x.SegmentPaths() {
		// a compaction may just have replaced it
		if err := r.queue.add(path, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	c := r.cfg.Replica
	logger := slog.New(warnings{r.cfg.Logger.Handler(), &r.fence}).With("component", "litestream")
	r.local = litestream.NewDB(c.DB)
	// Run syncs and uploads: its pauses after failures are shorter, and it knows its progress
	r.local.MonitorInterval = 0
	r.local.CheckpointInterval = cmp.Or(c.CheckpointInterval, litestream.DefaultCheckpointInterval)
	r.local.BusyTimeout = cmp.Or(c.BusyTimeout, litestream.DefaultBusyTimeout)
	r.local.MinCheckpointPageN = cmp.Or(c.MinCheckpointPages, litestream.DefaultMinCheckpointPageN)
	r.local.TruncatePageN = cmp.Or(c.TruncatePages, config.DefaultTruncatePages)
	r.local.Replica = litestream.NewReplicaWithClient(r.local, orderedClient{r.client, r})
	r.local.Replica.MonitorEnabled = false
	r.local.Replica.AutoRecoverEnabled = false // it hides a broken replica behind a healthy status
	levels := litestream.CompactionLevels{{Level: 0}}
	for i, interval := range c.Levels {
		levels = append(levels, &litestream.CompactionLevel{Level: i + 1, Interval: interval})
	}
	if len(c.Levels) == 0 {
		levels = litestream.DefaultCompactionLevels
	}
	if err := levels.Validate(); err != nil {
		return fmt.Errorf("replica: levels: %w", err)
	}
	// The store is never opened: it would start loops of its own, whose failures are counted nowhere.
	r.levels = levels
	r.store = litestream.NewStore([]*litestream.DB{r.local}, levels)
	r.store.Logger = logger
	r.local.SetLogger(logger)
	r.store.SnapshotInterval = cmp.Or(c.SnapshotInterval, litestream.DefaultSnapshotInterval)
	r.store.SnapshotRetention = cmp.Or(c.SnapshotRetention, litestream.DefaultSnapshotRetention)
	if c.L0Retention > 0 {
		r.store.SetL0Retention(c.L0Retention)
	}
	// Each check costs two listings, 11,520 a day at Litestream's 15 seconds. A compacted file stays for at most twice the
	// retention.
	r.store.L0RetentionCheckInterval = max(r.store.L0Retention, litestream.DefaultL0RetentionCheckInterval)
	r.store.ValidationInterval = c.ValidationInterval
	r.store.SetShutdownSyncTimeout(0) // Flush has tried
	if err := r.resume(ctx, r.client); err != nil {
		r.cfg.Logger.Warn("cannot continue the replica after the restore: uploading the whole database again",
			"err", err)
	}
	if err := r.local.Open(); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	r.cfg.Logger.Info("replicating", "replica", c.Where(), "config", c.File, "sync_interval", c.SyncInterval)
	return nil
}

// Reached returns the newest transaction that the replica is known to have; 0: not known yet.
func (r *Replicator) Reached() ltx.TXID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.remote
}

// Run replicates until ctx ends. When it must not write to the replica any more, it continues without it, because an
// index needs its checkpoints and the disk must not fill up. It returns that error at the end.
func (r *Replicator) Run(ctx context.Context) error {
	defer r.Release() // no compaction may wait for an upload any more
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		defer panics.Log(r.cfg.Logger, "replica: watch the WAL")
		r.watchWAL(ctx)
	})
	if r.fence.reason() == nil {
		err := r.replicate(ctx)
		if err == nil {
			return r.fence.reason()
		}
		r.raiseFence(err)
	}
	r.runFenced(ctx)
	return r.fence.reason()
}

// replicate syncs and uploads until ctx ends, or the replica must not be written any more.
func (r *Replicator) replicate(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	cuts := make(chan struct{}, 1)
	run := func(name string, do func() error) { start(g, r.cfg.Logger, "replica: "+name, do) }
	run("segments", func() error { return r.loop(ctx, "segments", r.queue.wake, r.queue.uploadAll) })
	run("cut", func() error {
		return r.loop(ctx, "cut", r.cutNow, func(ctx context.Context) error {
			defer func() {
				select {
				case cuts <- struct{}{}:
				default:
				}
			}()
			return r.cut(ctx)
		})
	})
	run("upload", func() error { return r.loop(ctx, "upload", cuts, r.upload) })
	for _, u := range r.tasks(r.levels) {
		run(u.what, func() error { return r.runTask(ctx, u) })
	}
	run("poll", func() error { return r.pollLoop(ctx) })
	run("fence", func() error { // the lease is lost while nothing is written
		select {
		case <-ctx.Done():
			return nil
		case <-r.stopped:
			return r.fence.reason()
		}
	})
	return g.Wait()
}

// loop calls do when it is woken, and at least once per interval. After a failure it waits longer.
func (r *Replicator) loop(
	ctx context.Context, what string, wake <-chan struct{}, do func(context.Context) error,
) error {
	backoff := time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		woken := wake
		if backoff > 0 {
			woken = nil // after a failure, new work does not shorten the pause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-woken:
		}
		err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case fenced(err):
			return err
		case err != nil:
			r.failed(what, err)
			backoff = min(max(2*backoff, minBackoff), maxBackoff)
		default:
			r.succeeded(what)
			backoff = 0
		}
		timer.Reset(max(backoff, r.cfg.Replica.SyncInterval))
	}
}

// upload uploads the LTX files that the replica lacks. If the replica then still has a hole, upload sends the whole
// database.
func (r *Replicator) upload(ctx context.Context) error {
	pos, err := r.local.Pos()
	if err != nil || pos.IsZero() {
		return err // no LTX file yet
	}
	if gone := r.goneErr(); gone != nil {
		if err := r.resend(ctx, false); err != nil {
			return fmt.Errorf("%w; %w", gone, err)
		}
		r.succeeded("replica")
	}
	if r.local.Replica.Pos().TXID < pos.TXID {
		err = r.local.Replica.Sync(ctx)
	}
	if isHole(err) {
		r.cfg.Logger.Warn("a pending file for the replica is missing on this disk: uploading the whole database "+
			"instead", "err", err)
		err = r.resend(ctx, true)
	}
	r.noteUpload(r.local.Replica.Pos().TXID)
	if err != nil {
		return fmt.Errorf("replica: upload: %w", err)
	}
	r.pollAfterFirstUpload()
	return nil
}

// pollAfterFirstUpload asks for a poll of the replica after the first upload: it checks that the listing has the file
// that was written.
func (r *Replicator) pollAfterFirstUpload() {
	r.mu.Lock()
	first := !r.state.polled && r.state.remote > 0
	r.state.polled = r.state.polled || first
	r.mu.Unlock()
	if first {
		select {
		case r.pollNow <- struct{}{}:
		default:
		}
	}
}

// BehindError means that the replica lacks data when the process ends.
type BehindError struct {
	Transactions int64
	Segments     int
	Err          error
}

func (e *BehindError) Error() string {
	if e.Transactions == 0 && e.Segments == 0 {
		return fmt.Sprintf("the replica may be incomplete; the next start uploads the rest: %v", e.Err)
	}
	return fmt.Sprintf("the replica lacks %d transactions and %d segments; the next start uploads them: %v",
		e.Transactions, e.Segments, e.Err)
}
func (e *BehindError) Unwrap() error { return e.Err }

// Flush uploads the remaining data after the last write and the end of Run. It tries until ctx ends, and returns a
// BehindError if data remains.
func (r *Replicator) Flush(ctx context.Context) error {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		err := r.fence.reason()
		if err == nil {
			err = r.flush(ctx)
		}
		if err == nil {
			return nil
		}
		if !fenced(err) {
			r.failed("flush", err)
			select {
			case <-time.After(backoff):
				continue
			case <-ctx.Done():
			}
		}
		st := r.Status()
		return &BehindError{st.LagTransactions, st.SegmentsWaiting, err}
	}
}

func (r *Replicator) flush(ctx context.Context) error {
	if err := r.cut(ctx); err != nil {
		return err
	}
	if err := r.queue.uploadAll(ctx); err != nil {
		return err
	}
	if err := r.upload(ctx); err != nil {
		return err
	}
	if err := r.poll(ctx); err != nil {
		return err
	}
	if gone := r.goneErr(); gone != nil {
		if err := r.upload(ctx); err != nil {
			return err
		}
	}
	status, err := r.local.SyncStatus(ctx) // from the replica's listing
	if err != nil {
		return fmt.Errorf("replica: list the replica: %w", err)
	}
	if !status.InSync {
		return fmt.Errorf("replica: the replica lists transaction %s, but %s was uploaded",
			status.RemoteTXID, status.LocalTXID)
	}
	r.succeeded("flush")
	return nil
}

// Release ends the waits of OnSegment, as the end of Run does.
func (r *Replicator) Release() { r.release.Do(func() { close(r.stopped) }) }

// Close stops Litestream after Flush. Call it after the index is closed: if the index closed the database last, the
// next start would upload all of it again.
func (r *Replicator) Close() error {
	r.Release()
	var err error
	if r.store != nil { // uploads the last writes of the index
		err = within(r.cfg.closeTimeout, r.store.Close)
		if fenced(err) || r.fence.reason() != nil {
			err = nil // Flush has said so, and dropCuts has removed the files of a last upload
		}
	}
	if r.lease != nil { // nothing writes any more
		err = errors.Join(err, within(r.cfg.closeTimeout, func(ctx context.Context) error {
			return r.lease.release(ctx, true)
		}))
	}
	err = errors.Join(err, r.lock.Release())
	if err != nil {
		return fmt.Errorf("replica: close: %w", err)
	}
	return nil
}

// within runs do with a timeout of its own: a store that hangs in one step must not take the time of the next step.
func within(timeout time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return do(ctx)
}

// warnings passes on warnings and errors only: metrics report the other events. Behind a fence it logs nothing: the
// fence itself is logged once.
type warnings struct {
	slog.Handler
	fence *fence
}

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.fence.reason() == nil && h.Handler.Enabled(ctx, level)
}
func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs), h.fence}
}
func (h warnings) WithGroup(name string) slog.Handler {
	return warnings{h.Handler.WithGroup(name), h.fence}
}
