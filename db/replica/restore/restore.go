// Package restore restores an index from its replica: it lists the LTX files, picks the fewest that lead to a point in
// time, applies them, verifies the database and installs it with its segments.
package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/dbfile"
)

// Options are the options of a restore. The zero value restores the newest state.
type Options struct {
	Target    Target
	Force     bool              // move existing files aside
	Lock      *dirlock.Lock     // the data directory, which the caller has taken and keeps; nil: the restore takes it
	Progress  func(p Progress)  // nil: no reports; called from several goroutines, one at a time
	Now       func() time.Time  // nil: time.Now
	Failpoint func(what string) // before each step of putting it in place; nil in production
}

// lock takes the data directory, unless the caller has it. The function that it returns releases the directory.
func (o Options) lock(dir string) (unlock func() error, err error) {
	if o.Lock != nil {
		return func() error { return nil }, nil
	}
	lock, err := dirlock.Exclusive(dir)
	if err != nil {
		return nil, err
	}
	return lock.Release, nil
}

// Progress is the progress of a restore.
type Progress struct {
	What      string // the present step
	Done, All int64  // bytes read from the replica, and bytes to read in all as far as known
}

// Result describes a finished restore.
type Result struct {
	Instance string
	TXID     ltx.TXID
	Time     time.Time // of that transaction
	LastSeq  uint64    // the newest log row
	LastUS   int64     // its time at the upstream, microseconds since 1970

	Files         int   // LTX files that were applied
	DatabaseBytes int64 // of weft.db
	Segments      int   // files in segments/
	SegmentBytes  int64
	SegmentsHad   int   // segments that the data directory already had
	Read          int64 // bytes read from the replica
	Aside         string
	Notes         []string // for the operator
}

// restore is a restore under way.
type restore struct {
	clients *config.Pool
	dir     string
	o       Options
	result  *Result

	mu      sync.Mutex // guards the fields below, and result while segments are fetched
	p       Progress
	fetched []string // segments that the data directory lacked
}

// Restore restores weft.db and its segments into a data directory: it downloads them under other names, verifies them
// and then moves them into place. Without Force it touches no existing file. With Force it keeps all of them in
// Result.Aside. A *GapError or *PointError means that the target cannot be restored, and lists the possible targets.
func Restore(ctx context.Context, src config.Source, dir string, o Options) (_ *Result, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	unlock, err := o.lock(dir)
	if err != nil {
		return nil, fmt.Errorf("replica: restore: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	r := &restore{clients: config.PoolOf(src), dir: dir, o: o, result: &Result{}}
	if there := Obstacles(dir, o.Target); len(there) > 0 && !o.Force {
		return nil, fmt.Errorf("replica: restore: %s already has %s: restore into another directory, or move it aside "+
			"with --force", dir, there[0])
	}
	// After an interrupted restore, the database begins again, and the complete segments stay.
	staged := filepath.Join(dir, db.Restoring)
	if err := r.database(ctx, staged); err != nil {
		return nil, fmt.Errorf("replica: restore: %w", err)
	}
	placing := false
	defer func() {
		if !placing { // otherwise it is in place, or it marks an unfinished restore
			_ = os.Remove(staged)
		}
	}()
	r.report("check of weft.db", 0, 0)
	m, err := db.ManifestOf(ctx, staged)
	if err != nil {
		return nil, fmt.Errorf("replica: restore: %w", r.withNewestIntact(ctx, staged, err))
	}
	var owner *FileError
	if err := checkOwner(ctx, r.clients, m, ""); errors.As(err, &owner) {
		r.note("did not check which index the replica belongs to: %v", err) // this must not prevent a restore
	} else if err != nil {
		return nil, fmt.Errorf("replica: restore: %w", err)
	}
	r.result.Instance = m.Instance
	r.result.LastSeq = m.LastSeq
	r.result.LastUS = m.LastUS
	// The check uses the CPU while the segments use the network.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return inspect(gctx, staged) })
	g.Go(func() error { return r.segments(gctx, m) })
	if err := g.Wait(); errors.Is(err, errNotIntact) {
		return nil, fmt.Errorf("replica: restore: %w", r.withNewestIntact(ctx, staged, err))
	} else if err != nil {
		return nil, fmt.Errorf("replica: restore: %w", err)
	}
	placing = true
	if err := r.install(m); err != nil {
		return nil, fmt.Errorf("replica: restore: put it in place: %w", err)
	}
	if o.Target == (Target{}) {
		if err := beginWAL(filepath.Join(dir, "weft.db"), r.result.TXID); err != nil {
			r.note("the first upload to this replica will be the whole database: %v", err)
		}
	}
	return r.result, nil
}

// Segments restores the missing segments that the weft.db of a data directory names, and no other file. With Force it
// replaces damaged segments.
func Segments(ctx context.Context, src config.Source, dir string, o Options) (_ *Result, err error) {
	unlock, err := o.lock(dir)
	if err != nil {
		return nil, fmt.Errorf("replica: restore segments: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	m, err := db.ManifestHere(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("replica: restore segments: %w", err)
	}
	r := &restore{clients: config.PoolOf(src), dir: dir, o: o,
		result: &Result{Instance: m.Instance, LastSeq: m.LastSeq, LastUS: m.LastUS}}
	if err := r.segments(ctx, m); err != nil {
		return nil, fmt.Errorf("replica: restore segments: %w", err)
	}
	return r.result, nil
}

// report counts bytes that were read, and bytes that are to be read.
func (r *restore) report(what string, done, all int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.p.What = what
	r.p.Done += done
	r.p.All += all
	if r.o.Progress != nil {
		r.o.Progress(r.p)
	}
}

func (r *restore) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}

// database writes the database as of the target to a file.
func (r *restore) database(ctx context.Context, path string) (err error) {
	client, err := r.clients.Client("")
	if err != nil {
		return err
	}
	defer r.clients.Release(client)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	a, err := assemble(ctx, client, r.o.Target, f, func(files []File) error {
		size, err := DatabaseBytes(ctx, client, files[len(files)-1])
		if err != nil {
			return err
		}
		r.report("weft.db", 0, SumBytes(files))
		return EnoughSpace(r.dir, size)
	}, func(n int64) { r.report("weft.db", n, 0) })
	if err != nil {
		return err
	}
	for _, bad := range a.bad {
		if bad.Damaged() {
			r.note("worked around a damaged file: %v; weft verify finds others", bad)
		}
	}
	picked := a.files
	last := picked[len(picked)-1]
	r.result.TXID = last.Max
	r.result.Time = last.Time
	r.result.Files = len(picked)
	r.result.DatabaseBytes = a.pages * a.pageSize
	r.result.Read = a.read
	if t := r.o.Target.Time; !t.IsZero() {
		r.note("the newest restorable transaction before %s is of %s", Stamp(t), Stamp(last.Time))
	}
	return f.Sync()
}

// assembled is a database that was made from the files of a replica.
type assembled struct {
	applied
	files []File
	bad   []*FileError // damaged or absent files that it does not need
}

// assemble writes the database as of a target to a file. If a file of the chain is damaged or vanishes meanwhile, as
// compacted files do, assemble tries the remaining files, as long as they lead as far.
func assemble(
	ctx context.Context, client litestream.ReplicaClient, t Target, to database, begin func([]File) error,
	progress func(int64),
) (assembled, error) {
	var a assembled
	for goal := ltx.TXID(0); ; {
		files, err := ListFiles(ctx, client)
		if err != nil {
			return a, err
		}
		files = slices.DeleteFunc(files, func(f File) bool {
			return slices.ContainsFunc(a.bad, func(bad *FileError) bool { return bad.File.Same(f) })
		})
		if t.Time.IsZero() {
			a.files, err = chainTo(files, t, goal)
		}
		if err != nil || !t.Time.IsZero() { // the times select the files, or are reported
			if err := exactTimes(ctx, client, files); err != nil {
				return a, err
			}
			a.files, err = chainTo(files, t, goal)
		}
		if err == nil {
			err = exactTimes(ctx, client, a.files[len(a.files)-1:])
		}
		if err != nil {
			for _, bad := range slices.Backward(a.bad) {
				err = fmt.Errorf("%w; %w", bad, err)
			}
			return a, err
		}
		goal = max(goal, a.files[len(a.files)-1].Max)
		err = begin(a.files)
		if err == nil {
			err = to.Truncate(0)
		}
		if err == nil {
			a.applied, err = apply(ctx, client, a.files, to, progress)
		}
		var bad *FileError
		if errors.As(err, &bad) && (bad.Damaged() || bad.gone()) {
			a.bad = append(a.bad, bad)
			continue
		}
		return a, err
	}
}

// chainTo is Chain with an error if the chain ends before a transaction.
func chainTo(files []File, t Target, goal ltx.TXID) ([]File, error) {
	picked, err := Chain(files, t)
	if err == nil && picked[len(picked)-1].Max < goal {
		err = errors.New(DescribeSpans(Spans(files)))
	}
	return picked, err
}

// DatabaseBytes returns the size of the database as of the end of a file, in bytes.
func DatabaseBytes(ctx context.Context, client litestream.ReplicaClient, f File) (int64, error) {
	h, err := readHeader(ctx, client, f)
	return int64(h.Commit) * int64(h.PageSize), err
}

// errOther means that a replica belongs to another index.
var errOther = errors.New("the replica belongs to another index")

// errNotIntact means that undamaged files of a replica make a broken database: two processes have written them.
var errNotIntact = fmt.Errorf("%w: the database restored from its files", ErrDamaged)

// inspect checks a database that was restored.
func inspect(ctx context.Context, path string) error {
	faults, err := check.File(ctx, path)
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("%w: %s", errNotIntact, faults[0])
	}
	return err
}

// checkOwner checks that an index is the owner of the replica, and the required index if one is given.
func checkOwner(ctx context.Context, clients *config.Pool, m *db.Manifest, instance string) error {
	says, err := InstanceOf(ctx, clients)
	if err != nil {
		return err
	}
	for _, want := range []string{says, instance} {
		if want != "" && m.Instance != want {
			return fmt.Errorf("%w: it has index %s, expected %s", errOther, m.Instance, want)
		}
	}
	return nil
}

// InstanceOf returns the instance of the replica's index; empty: unknown.
func InstanceOf(ctx context.Context, clients *config.Pool) (string, error) {
	client, err := clients.Client(config.InstanceSub)
	if err != nil {
		return "", err
	}
	defer clients.Release(client)
	dir, err := os.MkdirTemp("", "weft-replica-")
	if err != nil {
		return "", fmt.Errorf("replica: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "instance.db")
	if _, err := FetchDatabase(ctx, client, path); errors.Is(err, ErrAbsent) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return dbfile.Instance(ctx, path)
}
