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
)

// FollowConfig configures a follow. Replica and Dir have to be set.
type FollowConfig struct {
	Replica    Config           // whose weft.db and segments are followed; its DB is not used
	Dir        string           // of the copy, which belongs to it alone
	Every      time.Duration    // between two looks at the replica; 0: 250 ms
	CacheBytes int64            // db.FollowerConfig's
	Logger     *slog.Logger     // nil: none
	Now        func() time.Time // nil: time.Now
}

const (
	// defaultFollowEvery is a quarter of the second after which a primary uploads. A look asks for one object by its name, and
	// listing costs an object store twelve times as much as that.
	defaultFollowEvery = 250 * time.Millisecond
	// listEvery is for how long the next file by name may be absent before the replica is listed: it may have been merged with
	// others, for the follower was away.
	listEvery = 30 * time.Second
	// peekBytes is what is read of a file whose size isn't known; a longer one is looked up in the listing.
	peekBytes = 32 << 20
	// lookFiles is how many files go in before they are shown.
	lookFiles = 32
	// Failures are tried again after these pauses, each twice as long as the one before.
	minFollowPause = 500 * time.Millisecond
	maxFollowPause = 15 * time.Second
)

// Follow keeps a copy of an index current from its replica, and an index of the copy. Its life, in order: Open, Run, Close.
//
// What a replica holds of weft.db are its transactions, merged into files. Litestream's own follow mode writes their pages
// into the file beside SQLite; package db says why that isn't enough for a reader that stays connected. Here they go in
// through SQLite, each file in one transaction, and only once its checksum is right. A file leads from any transaction from
// the one before its first to the one before its last to its last, so that it doesn't matter which way the follower took.
type Follow struct {
	cfg    FollowConfig
	client litestream.ReplicaClient
	copy   *db.Copy
	index  *db.Follower

	at     ltx.TXID  // of the copy
	time   time.Time // when the primary cut it
	listed time.Time
	back   time.Time // since when each listing has the replica behind the copy; zero: the last one hasn't
	newest ltx.TXID  // that a listing has shown
	behind error     // why it couldn't be reached at the last listing; nil: it was
	sure   time.Time // when the copy was last known to have all: by a listing, or as the next file was there
	stale  bool      // the copy has what the index doesn't show

	fetches fetches

	mu    sync.Mutex
	state followState
}

// followState is what others ask for.
type followState struct {
	shown   ltx.TXID
	time    time.Time // of what is shown
	whole   time.Time // when the copy, as it is shown, was last found to have all that the replica has
	missing []db.ManifestFile
	err     error
	errAt   time.Time
}

// fetches is the segments that are to be fetched.
type fetches struct {
	wake chan struct{}
	done chan struct{}
	mu   sync.Mutex
	want []db.ManifestFile
}

// NewFollow makes a follow, and touches nothing.
func NewFollow(cfg FollowConfig) *Follow {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Every = cmp.Or(cfg.Every, defaultFollowEvery)
	return &Follow{cfg: cfg, fetches: fetches{wake: make(chan struct{}, 1), done: make(chan struct{}, 1)}}
}

// Open fetches all that the replica has, and shows it. A copy that is complete is shown as it is while the replica is away.
func (f *Follow) Open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("replica: follow %s: %w", f.cfg.Replica.Where(), err), f.Close())
		}
	}()
	if f.copy, err = db.OpenCopy(f.cfg.Dir); err != nil {
		return err
	}
	at, err := f.copy.Position()
	if err != nil {
		return err
	}
	f.at = ltx.TXID(at)
	if f.client, err = f.cfg.Replica.Client(""); err != nil {
		return err
	}
	looked := f.leap(ctx)
	switch {
	case errors.Is(looked, ErrEmpty) && f.at == 0:
		return fmt.Errorf("%w: start the primary first, with --replicate", looked)
	case looked != nil && (f.at == 0 || ctx.Err() != nil):
		return looked
	case looked != nil:
		f.failed("look", looked)
	}
	if f.index, err = db.OpenFollower(db.FollowerConfig{Dir: f.cfg.Dir, Owned: true, CacheBytes: f.cfg.CacheBytes, Logger: f.cfg.Logger, Now: f.cfg.Now}); err != nil {
		return err
	}
	if err := f.showFirst(ctx); err != nil {
		return err
	}
	if f.sure.IsZero() { // how old the copy is, is not known: at most as old as its newest row
		f.sure = time.UnixMicro(f.index.NewestTime())
	}
	f.state.whole = f.sure
	return nil
}

// showFirst shows the copy once all segments that it names are there.
func (f *Follow) showFirst(ctx context.Context) error {
	for {
		missing, err := f.show(ctx)
		if err != nil || len(missing) == 0 {
			return err
		}
		if err := f.fetchAll(ctx, missing); err != nil && !errors.Is(err, ErrAbsent) {
			return err
		} else if err != nil { // merged meanwhile, unless the newest manifest names it
			before := f.at
			if e := f.leap(ctx); e != nil || f.at == before {
				return errors.Join(err, e)
			}
		}
	}
}

// Index is what answers queries, from Open to Close.
func (f *Follow) Index() *db.Follower { return f.index }

// Close closes the index and the copy.
func (f *Follow) Close() error {
	var errs []error
	if f.index != nil {
		errs = append(errs, f.index.Close())
	}
	if f.copy != nil {
		errs = append(errs, f.copy.Close())
	}
	return errors.Join(errs...)
}

// Run follows until ctx ends. What fails is tried again for ever, and queries go on with what there is.
func (f *Follow) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.look(ctx) })
	g.Go(func() error { return f.fetch(ctx) })
	return g.Wait()
}

// look looks for what is new.
func (f *Follow) look(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-f.fetches.done:
			f.stale = true
		}
		more, err := f.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.failed("look", err)
			pause = min(max(2*pause, minFollowPause), maxFollowPause)
		case more:
			pause = 0
		default:
			pause = 0
			f.succeeded()
		}
		if more {
			timer.Reset(0)
		} else {
			timer.Reset(max(pause, f.cfg.Every))
		}
	}
}

// once looks once. more says that there may be more at once.
func (f *Follow) once(ctx context.Context) (more bool, err error) {
	began := f.cfg.Now()
	more, err = f.step(ctx)
	if f.stale { // also of what went in before it failed
		missing, e := f.show(ctx)
		f.fetches.ask(missing)
		err = errors.Join(err, e)
	}
	if err == nil && !more && !f.stale {
		f.mu.Lock()
		f.state.whole = began
		f.mu.Unlock()
	}
	return more, err
}

// step puts in the files that come next, by their names.
func (f *Follow) step(ctx context.Context) (more bool, err error) {
	for range lookFiles {
		data, err := f.peek(ctx, f.at+1)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// That there is no next file says nothing when a listing has shown that there are later ones.
			if f.behind != nil || f.at < f.newest || f.cfg.Now().Sub(f.listed) >= listEvery {
				return false, f.leap(ctx)
			}
			return false, nil
		case errors.Is(err, errLong):
			return false, f.leap(ctx)
		case err != nil:
			return false, err
		}
		next := File{Min: f.at + 1, Max: f.at + 1, Bytes: int64(len(data))}
		if err := f.put(ctx, next, func(begin func(ltx.Header) error, page func(uint32, []byte) error) error {
			if err := readLTX(bytes.NewReader(data), next.Bytes, begin, page); err != nil {
				return &FileError{next.String(), next, err}
			}
			return nil
		}); err != nil {
			return false, err
		}
		f.listed = f.cfg.Now()
		if f.at >= f.newest {
			f.sure, f.behind = f.listed, nil
		}
	}
	return true, nil
}

// errLong says that a file is longer than what is read without knowing its size.
var errLong = errors.New("the file is long")

// peek reads the file of one transaction; fs.ErrNotExist: there is none.
func (f *Follow) peek(ctx context.Context, txid ltx.TXID) ([]byte, error) {
	body, err := f.client.OpenLTXFile(ctx, 0, txid, txid, 0, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, peekBytes+1))
	if err == nil && len(data) > peekBytes {
		err = errLong
	}
	return data, err
}

// leap lists the replica, and puts in the fewest files that lead to its newest transaction. Until it gets there, or a file
// that comes next does, the follow is behind.
func (f *Follow) leap(ctx context.Context) error {
	began := f.cfg.Now()
	files, err := f.list(ctx)
	if err != nil {
		return err
	}
	f.listed = f.cfg.Now()
	if f.behind = f.leapTo(ctx, files); f.behind == nil {
		f.sure = began
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sure.Before(f.state.whole) { // the looks since then found no next file, and took that for all
		f.state.whole = f.sure
	}
	return f.behind
}

// leapTo puts in the fewest of the files that lead to the newest transaction.
func (f *Follow) leapTo(ctx context.Context, files []File) (err error) {
	newest := ltx.TXID(0)
	for _, file := range files {
		if newest = max(newest, file.Max); file.Max == f.at && f.time.IsZero() {
			f.time = file.Time
		}
	}
	if len(files) == 0 {
		return ErrEmpty
	}
	picked, reach := extend(files, Target{}, f.at)
	f.newest = newest
	switch {
	case newest < f.at && f.listed.Sub(f.backSince()) < listEvery: // a store may list what was there a moment ago
		return fmt.Errorf("the replica ends at transaction %d, before the copy at %d; if this persists, the replica was restarted, and the follower starts over too", newest, f.at)
	case newest < f.at:
		f.cfg.Logger.Warn("the replica went back to an earlier transaction; following it", "txid", uint64(f.at), "newest", uint64(newest))
		picked, err = chain(files, Target{})
	case reach < newest:
		if _, err = chain(files, Target{}); err == nil { // else it says where the gap is
			err = fmt.Errorf("no file continues from transaction %d", reach)
		}
		return errors.Join(f.putAll(ctx, picked), err) // up to the gap
	}
	if err != nil {
		return err
	}
	f.back = time.Time{}
	return f.putAll(ctx, picked)
}

// putAll puts in files that follow each other.
func (f *Follow) putAll(ctx context.Context, picked []File) error {
	if len(picked) > 0 && picked[0].Min == 1 {
		whole, err := databaseBytes(ctx, f.client, picked[0])
		if err != nil {
			return err
		}
		f.cfg.Logger.Info("downloading the database", "files", len(picked), "bytes", sumBytes(picked), "database_bytes", whole)
		if err := enoughSpace(f.cfg.Dir, 2*whole); err != nil { // once more in the WAL
			return err
		}
	}
	for _, file := range picked {
		if err := f.put(ctx, file, func(begin func(ltx.Header) error, page func(uint32, []byte) error) error {
			return readFile(ctx, f.client, "", file, begin, page)
		}); err != nil {
			return err
		}
	}
	return nil
}

// backSince is since when the replica is behind the copy: since now, unless it was so before.
func (f *Follow) backSince() time.Time {
	if f.back.IsZero() {
		f.back = f.listed
	}
	return f.back
}

// list lists the files of all levels. Their times are those of the upload, which cost nothing.
func (f *Follow) list(ctx context.Context) (files []File, err error) {
	if err := f.client.Init(ctx); err != nil {
		return nil, err
	}
	for level := range snapshotLevel + 1 {
		it, err := f.client.LTXFiles(ctx, level, 0, false)
		if err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		infos, err := ltx.SliceFileIterator(it)
		if err := errors.Join(err, it.Err()); err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		for _, i := range infos {
			files = append(files, File{Level: level, Min: i.MinTXID, Max: i.MaxTXID, Bytes: i.Size, Time: i.CreatedAt.UTC()})
		}
	}
	return files, nil
}

// put makes the change that a file holds.
func (f *Follow) put(ctx context.Context, file File, read func(begin func(ltx.Header) error, page func(uint32, []byte) error) error) error {
	var tx *db.CopyTx
	var cut time.Time
	err := read(func(h ltx.Header) (err error) {
		if h.MinTXID != file.Min || h.MaxTXID != file.Max {
			return fmt.Errorf("%w: it holds the transactions %d to %d", errDamaged, h.MinTXID, h.MaxTXID)
		}
		cut = time.UnixMilli(h.Timestamp)
		tx, err = f.copy.Begin(ctx, db.Change{Position: uint64(file.Max), PageSize: int(h.PageSize), Pages: h.Commit})
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
	f.at, f.time, f.stale = file.Max, cut, true
	return nil
}

// show shows what the copy has, as far as the segments are there, and answers which aren't.
func (f *Follow) show(ctx context.Context) ([]db.ManifestFile, error) {
	current, missing, err := f.index.Refresh(ctx)
	if err != nil {
		return nil, err
	}
	f.stale = !current
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.missing = missing
	if current {
		f.state.shown, f.state.time = f.at, f.time
	}
	return missing, nil
}

// failed notes what went wrong, and says it when it is new.
func (f *Follow) failed(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.err == nil || f.state.err.Error() != err.Error() {
		f.cfg.Logger.Warn("following the replica failed; retrying", "what", what, "replica", f.cfg.Replica.Where(), "err", err,
			"do", followAdvice(err)+"; queries continue with the present data")
	}
	f.state.err, f.state.errAt = err, f.cfg.Now()
}

func (f *Follow) succeeded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.err != nil && len(f.state.missing) == 0 {
		f.cfg.Logger.Info("following the replica works again", "txid", uint64(f.at))
		f.state.err = nil
	}
}
