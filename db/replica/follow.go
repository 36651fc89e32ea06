package replica

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/pagecopy"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// FollowerConfig configures a follow. Replica and Dir have to be set.
type FollowerConfig struct {
	Replica      config.Config    // whose weft.db and segments are followed; its DB is not used
	Dir          string           // of the copy; no other process may use it
	PollInterval time.Duration    // between two polls of the replica; 0: 250 ms
	CacheBytes   int64            // db.FollowerConfig's
	Logger       *slog.Logger     // nil: none
	Now          func() time.Time // nil: time.Now
}

const (
	// defaultPollInterval is a quarter of the second after which a primary uploads. A poll asks for one object by its
	// name. A listing costs twelve times as much in an object store.
	defaultPollInterval = 250 * time.Millisecond
	// listEvery is the time for which the next file by name may be absent before the follower lists the replica: a
	// compaction may have replaced the file while the follower was away.
	listEvery = 30 * time.Second
	// nextBytes is the number of bytes read of a file of unknown size. The size of a longer file comes from the
	// listing.
	nextBytes = 32 << 20
	// filesPerPoll is the number of files that are applied before the index shows them.
	filesPerPoll = 32
	// The follower retries after a failure. The first and the longest pause are these; each pause is twice as long as
	// the one before.
	minPollPause = 500 * time.Millisecond
	maxPollPause = 15 * time.Second
)

// Follower keeps a copy of an index current from its replica, and an index of the copy. Call Open, Run and Close in
// this order.
//
// A replica holds the transactions of weft.db in files. Litestream's own follow mode writes their pages into the file
// beside SQLite; package pagecopy states why that is not enough for a reader that stays connected. The follower writes
// them through SQLite: each file in one transaction, after its checksum is verified. A file applies to any transaction
// from the one before its first to the one before its last, and leads to its last, so that the choice of files does not
// matter.
type Follower struct {
	cfg     FollowerConfig
	client  litestream.ReplicaClient
	clients *config.Pool
	copy    *pagecopy.Copy
	index   *db.Follower

	at          ltx.TXID  // of the copy
	time        time.Time // when the primary wrote it
	listed      time.Time
	behindSince time.Time // first of the listings in a row with the replica behind the copy; zero: none
	newest      ltx.TXID  // in any listing so far
	behind      error     // why the last listing did not lead to the newest transaction; nil: it did
	sure        time.Time // when the copy was last known to be complete: by a listing, or because the next file existed
	unshown     bool      // the copy has transactions that the index does not show

	queue segmentQueue

	mu    sync.Mutex
	state followState
}

// followState is the state for Status, Lag and Ready.
type followState struct {
	shown   ltx.TXID
	time    time.Time // of the shown state
	whole   time.Time // when the shown copy was last found to have all data of the replica
	missing []db.ManifestFile
	err     error
	errAt   time.Time
}

// segmentQueue is the segments that are to be fetched.
type segmentQueue struct {
	wake chan struct{}
	done chan struct{}
	mu   sync.Mutex
	want []db.ManifestFile
}

// NewFollower returns a Follower. It reads and writes nothing.
func NewFollower(cfg FollowerConfig) *Follower {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.PollInterval = cmp.Or(cfg.PollInterval, defaultPollInterval)
	return &Follower{cfg: cfg, clients: config.PoolOf(cfg.Replica),
		queue: segmentQueue{wake: make(chan struct{}, 1), done: make(chan struct{}, 1)}}
}

// Open downloads the state of the replica and shows it. If the replica is unreachable, Open shows the present copy if
// it is complete.
func (f *Follower) Open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("replica: follow %s: %w", f.cfg.Replica.Where(), err), f.Close())
		}
	}()
	f.copy, err = pagecopy.Open(f.cfg.Dir)
	if err != nil {
		return err
	}
	at, err := f.copy.Position()
	if err != nil {
		return err
	}
	f.at = ltx.TXID(at)
	f.client, err = f.clients.Client("")
	if err != nil {
		return err
	}
	looked := f.catchUp(ctx)
	switch {
	case errors.Is(looked, restore.ErrEmpty) && f.at == 0:
		return fmt.Errorf("%w: start the primary first, with --replicate", looked)
	case looked != nil && (f.at == 0 || ctx.Err() != nil):
		return looked
	case looked != nil:
		f.failed("look", looked)
	}
	f.index, err = db.OpenFollower(db.FollowerConfig{Dir: f.cfg.Dir, Owned: true, CacheBytes: f.cfg.CacheBytes,
		Logger: f.cfg.Logger, Now: f.cfg.Now})
	if err != nil {
		return err
	}
	if err := f.refreshFirst(ctx); err != nil {
		return err
	}
	if f.sure.IsZero() { // the age of the copy is unknown: it is at most that of its newest row
		f.sure = time.UnixMicro(f.index.NewestTime())
	}
	f.state.whole = f.sure
	return nil
}

// refreshFirst shows the copy once all segments that it names are there.
func (f *Follower) refreshFirst(ctx context.Context) error {
	for {
		missing, err := f.refresh(ctx)
		if err != nil || len(missing) == 0 {
			return err
		}
		if err := f.fetchAll(ctx, missing); err != nil && !errors.Is(err, restore.ErrAbsent) {
			return err
		} else if err != nil { // a compaction has removed it, unless the newest manifest names it
			before := f.at
			if e := f.catchUp(ctx); e != nil || f.at == before {
				return errors.Join(err, e)
			}
		}
	}
}

// Index answers queries, from Open to Close.
func (f *Follower) Index() *db.Follower { return f.index }

// Close closes the index and the copy.
func (f *Follower) Close() error {
	var errs []error
	if f.index != nil {
		errs = append(errs, f.index.Close())
	}
	if f.copy != nil {
		errs = append(errs, f.copy.Close())
	}
	return errors.Join(errs...)
}

// Run follows until ctx ends. It retries failures forever; queries continue with the present data.
func (f *Follower) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	start(g, f.cfg.Logger, "follower: poll", func() error { return f.poll(ctx) })
	start(g, f.cfg.Logger, "follower: fetch segments", func() error { return f.fetchLoop(ctx) })
	return g.Wait()
}

// poll applies new files.
func (f *Follower) poll(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-f.queue.done:
			f.unshown = true
		}
		more, err := f.pollOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.failed("look", err)
			pause = min(max(2*pause, minPollPause), maxPollPause)
		case more:
			pause = 0
		default:
			pause = 0
			f.succeeded()
		}
		if more {
			timer.Reset(0)
		} else {
			timer.Reset(max(pause, f.cfg.PollInterval))
		}
	}
}

// pollOnce polls once. more reports that another file may be there already.
func (f *Follower) pollOnce(ctx context.Context) (more bool, err error) {
	began := f.cfg.Now()
	more, err = f.applyNext(ctx)
	if f.unshown { // also after a failure in the middle
		missing, e := f.refresh(ctx)
		f.queue.set(missing)
		err = errors.Join(err, e)
	}
	if err == nil && !more && !f.unshown {
		f.mu.Lock()
		f.state.whole = began
		f.mu.Unlock()
	}
	return more, err
}

// applyNext applies the next files, by their names.
func (f *Follower) applyNext(ctx context.Context) (more bool, err error) {
	for range filesPerPoll {
		data, err := f.readNext(ctx, f.at+1)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// A missing next file proves nothing when a listing has shown later files.
			if f.behind != nil || f.at < f.newest || f.cfg.Now().Sub(f.listed) >= listEvery {
				return false, f.catchUp(ctx)
			}
			return false, nil
		case errors.Is(err, errLong):
			return false, f.catchUp(ctx)
		case err != nil:
			return false, err
		}
		next := restore.File{Min: f.at + 1, Max: f.at + 1, Bytes: int64(len(data))}
		err = f.apply(ctx, next, func(begin func(ltx.Header) error, page func(uint32, []byte) error) error {
			err := restore.ReadLTX(bytes.NewReader(data), next.Bytes, begin, page)
			if err != nil {
				return &restore.FileError{Object: next.String(), File: next, Err: err}
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		f.listed = f.cfg.Now()
		if f.at >= f.newest {
			f.sure = f.listed
			f.behind = nil
		}
	}
	return true, nil
}

// errLong means that a file of unknown size is longer than nextBytes.
var errLong = errors.New("the file is long")

// readNext reads the file of one transaction; fs.ErrNotExist: there is none.
func (f *Follower) readNext(ctx context.Context, txid ltx.TXID) ([]byte, error) {
	body, err := f.client.OpenLTXFile(ctx, 0, txid, txid, 0, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, nextBytes+1))
	if err == nil && len(data) > nextBytes {
		err = errLong
	}
	return data, err
}

// catchUp lists the replica and applies the fewest files that lead to its newest transaction. The follower is behind
// until this succeeds or the next file by name arrives.
func (f *Follower) catchUp(ctx context.Context) error {
	began := f.cfg.Now()
	files, err := f.list(ctx)
	if err != nil {
		return err
	}
	f.listed = f.cfg.Now()
	f.behind = f.catchUpWith(ctx, files)
	if f.behind == nil {
		f.sure = began
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sure.Before(f.state.whole) { // the polls since then found no next file, and took the copy for complete
		f.state.whole = f.sure
	}
	return f.behind
}

// catchUpWith applies the fewest of the files that lead to the newest transaction.
func (f *Follower) catchUpWith(ctx context.Context, files []restore.File) (err error) {
	newest := ltx.TXID(0)
	for _, file := range files {
		newest = max(newest, file.Max)
		if file.Max == f.at && f.time.IsZero() {
			f.time = file.Time
		}
	}
	if len(files) == 0 {
		return restore.ErrEmpty
	}
	picked, reach := restore.ChainFrom(files, restore.Target{}, f.at)
	f.newest = newest
	switch {
	case newest < f.at && f.listed.Sub(f.startBehind()) < listEvery: // a store may list an earlier state
		return fmt.Errorf("the replica ends at transaction %d, before the copy at %d; if this persists, the replica "+
			"was restarted, and the follower starts over too", newest, f.at)
	case newest < f.at:
		f.cfg.Logger.Warn("the replica went back to an earlier transaction; following it", "txid", uint64(f.at),
			"newest", uint64(newest))
		picked, err = restore.Chain(files, restore.Target{})
	case reach < newest:
		_, err = restore.Chain(files, restore.Target{})
		if err == nil { // else err names the gap
			err = fmt.Errorf("no file continues from transaction %d", reach)
		}
		return errors.Join(f.applyAll(ctx, picked), err) // up to the gap
	}
	if err != nil {
		return err
	}
	f.behindSince = time.Time{}
	return f.applyAll(ctx, picked)
}

// applyAll applies files that follow each other.
func (f *Follower) applyAll(ctx context.Context, picked []restore.File) error {
	if len(picked) > 0 && picked[0].Min == 1 {
		whole, err := restore.DatabaseBytes(ctx, f.client, picked[0])
		if err != nil {
			return err
		}
		f.cfg.Logger.Info("downloading the database", "files", len(picked), "bytes", restore.SumBytes(picked),
			"database_bytes", whole)
		if err := restore.EnoughSpace(f.cfg.Dir, 2*whole); err != nil { // the WAL holds it a second time
			return err
		}
	}
	for _, file := range picked {
		if err := f.apply(ctx, file, func(begin func(ltx.Header) error, page func(uint32, []byte) error) error {
			return restore.ReadFile(ctx, f.client, "", file, begin, page)
		}); err != nil {
			return err
		}
	}
	return nil
}

// startBehind returns the time since which the replica is behind the copy. It sets the time to now if it is not set.
func (f *Follower) startBehind() time.Time {
	if f.behindSince.IsZero() {
		f.behindSince = f.listed
	}
	return f.behindSince
}

// list lists the files of all levels. Their times are the times of the uploads, which need no further request.
func (f *Follower) list(ctx context.Context) (files []restore.File, err error) {
	if err := f.client.Init(ctx); err != nil {
		return nil, err
	}
	for level := range restore.SnapshotLevel + 1 {
		it, err := f.client.LTXFiles(ctx, level, 0, false)
		if err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		infos, err := ltx.SliceFileIterator(it)
		if err := errors.Join(err, it.Err()); err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		for _, i := range infos {
			files = append(files, restore.File{Level: level, Min: i.MinTXID, Max: i.MaxTXID, Bytes: i.Size,
				Time: i.CreatedAt.UTC()})
		}
	}
	return files, nil
}

// apply makes the change that a file holds.
func (f *Follower) apply(
	ctx context.Context, file restore.File,
	read func(begin func(ltx.Header) error, page func(uint32, []byte) error) error,
) error {
	var tx *pagecopy.Tx
	var cut time.Time
	err := read(func(h ltx.Header) (err error) {
		if h.MinTXID != file.Min || h.MaxTXID != file.Max {
			return fmt.Errorf("%w: it holds the transactions %d to %d", restore.ErrDamaged, h.MinTXID, h.MaxTXID)
		}
		cut = time.UnixMilli(h.Timestamp)
		tx, err = f.copy.Begin(ctx, pagecopy.Change{Position: uint64(file.Max), PageSize: int(h.PageSize), Pages: h.Commit})
		return err
	}, func(number uint32, data []byte) error { return tx.Put(number, data) })
	switch {
	case err != nil && tx != nil:
		tx.Rollback()
		return err
	case err != nil:
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	f.at = file.Max
	f.time = cut
	f.unshown = true
	return nil
}

// refresh shows the state of the copy, as far as the segments are on this disk, and returns the missing segments.
func (f *Follower) refresh(ctx context.Context) ([]db.ManifestFile, error) {
	current, missing, err := f.index.Refresh(ctx)
	if err != nil {
		return nil, err
	}
	f.unshown = !current
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.missing = missing
	if current {
		f.state.shown = f.at
		f.state.time = f.time
	}
	return missing, nil
}

// failed records an error, and logs it when it is new.
func (f *Follower) failed(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.err == nil || f.state.err.Error() != err.Error() {
		f.cfg.Logger.Warn("following the replica failed; retrying", "what", what, "replica", f.cfg.Replica.Where(),
			"err", err,
			"do", followAdvice(err)+"; queries continue with the present data")
	}
	f.state.err = err
	f.state.errAt = f.cfg.Now()
}

func (f *Follower) succeeded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.err != nil && len(f.state.missing) == 0 {
		f.cfg.Logger.Info("following the replica works again", "txid", uint64(f.at))
		f.state.err = nil
	}
}
