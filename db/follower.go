package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/schema"
	"weft.dev/weft/db/sqliteuri"
)

// FollowerConfig configures a follower. Only Dir is required.
type FollowerConfig struct {
	Dir        string           // directory of weft.db
	Logger     *slog.Logger     // nil: none
	Now        func() time.Time // nil: time.Now
	CacheBytes int64            // bounds the cache of decoded segment blocks, in bytes; 0: 32 MiB
	// HoldBytes bounds the runs in memory while segment files are missing, in bytes; 0: 192 MiB. Beyond it the follower
	// waits for the files.
	HoldBytes int
	// Owned means that the directory belongs to the follower: it removes segment files that are no longer needed.
	Owned bool
}

// defaultHoldBytes is twice the memory of a writer's runs (one seal immutable, two above it), and as much again for
// files that take minutes to download.
const defaultHoldBytes = 8 * defaultSealBytes

// Follower is an Index of a directory that the Store of another process or a pagecopy.Copy writes. It takes no lock and
// has no connection that writes. It shows the index at one commit of the writer, as of the last Refresh.
type Follower struct {
	Index
	state   *apply.State
	hold    int
	owned   bool
	loaded  bool          // the maps hold the state of the snapshot
	at      logMark       // the newest log row in the snapshot
	schema  int64         // the version of the database's schema, which this program knows
	retired []*index.File // no longer in the manifest; queries may still read them
	waiting []index.ManifestRow
}

// logMark identifies a log row: another history may have another row of the same number.
type logMark struct {
	TimeUS int64
	Op     Op
	Actor  uint64
	Rev    uint64
}

// The ways to repair a follower, with a copy of its own and without.
const (
	mendCopy = "start the follower with an empty directory in place of %s: it downloads everything again; if that " +
		"fails too, the replica is damaged: run weft verify"
	mendFollowed = "run weft check --data %s"
)

// ErrOtherIndex is the error of Refresh when the database has become another index's.
var ErrOtherIndex = errors.New("the replica now holds another index")

// OpenFollower opens a directory to follow it. It shows nothing before the first Refresh that returns current.
func OpenFollower(cfg FollowerConfig) (*Follower, error) {
	f := &Follower{hold: cfg.HoldBytes, owned: cfg.Owned}
	if f.hold <= 0 {
		f.hold = defaultHoldBytes
	}
	f.defaults(Config{Dir: cfg.Dir, Logger: cfg.Logger, Now: cfg.Now, CacheBytes: cfg.CacheBytes})
	f.state = f.newState()
	f.core.SetSnapshot(f.core.Base(nil))
	path := filepath.Join(cfg.Dir, "weft.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("db: follow %s: %w", cfg.Dir, ErrNoIndex)
	}
	uri, err := sqliteuri.File(path)
	if err != nil {
		return nil, err
	}
	if err := f.core.Connect(uri, ""); err != nil {
		return nil, fmt.Errorf("db: follow %s: %w", path, err)
	}
	if err := f.open(); err != nil {
		return nil, errors.Join(disk.WrapFull(cfg.Dir, fmt.Errorf("db: follow %s: %w", path, err), disk.Space),
			f.core.Reader.Close())
	}
	return f, nil
}

func (f *Follower) open() error {
	if err := schema.Check(f.core.Reader); err != nil {
		return err
	}
	if err := f.core.Reader.Get(&f.schema, "SELECT max(version_id) FROM goose_db_version"); err != nil {
		return err
	}
	return f.core.Reader.Get(&f.core.Instance, "SELECT value FROM meta WHERE key = 'instance'")
}

// Close closes the files. It must not be called during a query.
func (f *Follower) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.core.ReleaseFiles(f.core.Snapshot().Files)
	if err := f.core.Reader.Close(); err != nil {
		return fmt.Errorf("db: close: %w", err)
	}
	return nil
}

// Refresh shows all commits since the last Refresh. It returns the missing segment files of the manifest. Until they
// exist, it keeps its present files and shows new log rows as long as they fit in memory; before the first complete set
// of files it shows nothing. current means that all commits are shown. After an error it shows the same state as
// before, and the next Refresh starts from the beginning.
func (f *Follower) Refresh(ctx context.Context) (current bool, missing []ManifestFile, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.loaded
	f.loaded = false
	f.waiting = nil
	var next *index.Snapshot
	if err := f.core.InReadTx(ctx, func(q logrow.Queryer) (err error) {
		next, err = f.refresh(ctx, q, was)
		if err != nil || next == nil {
			return err
		}
		err = f.complete(ctx, q, next)
		if err != nil && next.Files != f.core.Snapshot().Files {
			f.core.ReleaseFiles(next.Files)
		}
		return err
	}); errors.Is(err, logrow.ErrDamaged) {
		mend := mendFollowed
		if f.owned {
			mend = mendCopy
		}
		return false, nil, fmt.Errorf("db: refresh: %w: "+mend, err, f.cfg.Dir)
	} else if err != nil {
		return false, nil, fmt.Errorf("db: refresh: %w", err)
	}
	for _, row := range f.waiting {
		missing = append(missing, manifestFile(row))
	}
	if next == nil { // not yet
		return false, missing, nil
	}
	current = len(missing) == 0 || f.core.Snapshot().MutableBytes() < f.hold
	f.loaded = true
	f.publish(next)
	return current, missing, nil
}

// complete reads which bodies are valid, and notes the snapshot's newest log row.
func (f *Follower) complete(ctx context.Context, q logrow.Queryer, next *index.Snapshot) error {
	mode, since, err := bodiesKept(ctx, q)
	if err != nil {
		return err
	}
	next.BodiesSince = since
	if mode == BodiesOff { // bodies are not kept up to date
		next.BodiesSince = next.Seq
	}
	f.at, _, err = logMarkOf(ctx, q, next.Seq) // none: it is pruned
	return err
}

// publish makes a snapshot the present one, and retires files that it no longer needs.
func (f *Follower) publish(next *index.Snapshot) {
	old := f.core.Snapshot()
	if next.Files == old.Files {
		f.core.SetSnapshot(next)
	} else {
		if f.owned {
			f.retire(old, next)
		}
		f.core.PublishSnapshot(next)
	}
	if next.Seq != old.Seq {
		f.commits.fire()
	}
}

// retire marks the files that the next snapshot no longer has. Each is removed when no query reads it.
func (f *Follower) retire(old, next *index.Snapshot) {
	kept := map[*index.File]bool{}
	for _, file := range next.Files.Files {
		kept[file] = true
	}
	f.retired = f.core.Held(f.retired)
	var gone []*index.File
	for _, file := range old.Files.Files {
		if !kept[file] {
			gone = append(gone, file)
		}
	}
	f.core.Retire(gone)
	f.retired = append(f.retired, gone...)
}

func logMarkOf(ctx context.Context, q logrow.Queryer, seq uint64) (m logMark, ok bool, err error) {
	r, ok, err := logrow.At(ctx, q, seq)
	return logMark{r.TimeUS, r.Op, r.Actor, r.Rev}, ok, err
}

// refresh returns the next snapshot, or nil while files that it needs are missing. loaded means that the state is that
// of the present snapshot.
func (f *Follower) refresh(ctx context.Context, q logrow.Queryer, loaded bool) (*index.Snapshot, error) {
	if err := f.sameIndex(ctx, q); err != nil {
		return nil, err
	}
	rows, err := index.ReadManifestRows(ctx, q)
	if err != nil {
		return nil, err
	}
	var covered uint64
	if len(rows) > 0 {
		covered = rows[len(rows)-1].ToSeq
	}
	v := f.core.Snapshot()
	if loaded {
		lost, err := f.lostLog(ctx, q, v, covered)
		if err != nil {
			return nil, err
		}
		loaded = lost == ""
		if !loaded {
			f.cfg.Logger.Warn("reloading the index", "because", lost, "log_seq", v.Seq)
		}
	}
	// A manifest that covers fewer rows comes from a writer that rebuilds its segments. Until it covers as many rows
	// again, the follower keeps its open files.
	if loaded && (covered < v.Sealed || sameFiles(rows, v.Files.Files)) {
		return f.state.CatchUp(ctx, q, v)
	}
	files, err := f.openManifest(rows, v)
	if err != nil {
		return nil, err
	}
	switch {
	case files == nil && !loaded:
		return nil, nil
	case files == nil && v.MutableBytes() >= f.hold:
		same := *v
		return &same, nil
	case files == nil:
		return f.state.CatchUp(ctx, q, v)
	case loaded && covered == v.Sealed:
		return f.replaceFiles(ctx, q, v, files)
	}
	return f.reopen(ctx, q, v, files, loaded)
}

// sameIndex refuses another index, and another schema.
func (f *Follower) sameIndex(ctx context.Context, q logrow.Queryer) error {
	var instance string
	var schema int64
	if err := q.QueryRowContext(ctx,
		"SELECT (SELECT value FROM meta WHERE key = 'instance'), (SELECT max(version_id) FROM goose_db_version)").Scan(
		&instance, &schema); err != nil {
		return err
	}
	if instance != f.core.Instance {
		return fmt.Errorf("%w: %s instead of %s: start the follower with an empty directory", ErrOtherIndex, instance,
			f.core.Instance)
	}
	if schema != f.schema {
		return fmt.Errorf("the schema is now version %d, and this weft knows %d: restart the follower with the weft "+
			"version of the primary", schema, f.schema)
	}
	return nil
}

// lostLog returns the reason why the log doesn't continue the snapshot; empty: it continues it.
func (f *Follower) lostLog(ctx context.Context, q logrow.Queryer, v *index.Snapshot, covered uint64) (why string,
	err error) {
	if v.Seq == 0 {
		return "", nil
	}
	oldest, newest, err := logrow.Range(ctx, q)
	if err != nil {
		return "", err
	}
	at, ok, err := logMarkOf(ctx, q, v.Seq)
	switch {
	case err != nil:
		return "", err
	case max(newest, covered) < v.Seq:
		return fmt.Sprintf("the log went back to row %d", max(newest, covered)), nil
	case ok && at != f.at:
		return fmt.Sprintf("log row %d has changed", v.Seq), nil
	case !ok && oldest != v.Seq+1 && covered != v.Seq:
		return fmt.Sprintf("the log now begins at row %d", oldest), nil
	}
	return "", nil
}

// sameFiles reports whether files are those of the manifest.
func sameFiles(rows []index.ManifestRow, files []*index.File) bool {
	if len(rows) != len(files) {
		return false
	}
	for i := range rows {
		if rows[i].File != files[i].File {
			return false
		}
	}
	return true
}

// openManifest opens the files of the manifest that are not open yet. If some are missing it opens none, and notes the
// missing ones.
func (f *Follower) openManifest(rows []index.ManifestRow, v *index.Snapshot) (files []*index.File, err error) {
	open := map[string]*index.File{}
	for _, file := range v.Files.Files {
		open[file.File] = file
	}
	for _, row := range rows {
		if info, err := os.Stat(filepath.Join(f.cfg.Dir, "segments", row.File)); open[row.File] == nil && (err != nil ||
			info.Size() != row.Bytes) {
			f.waiting = append(f.waiting, row)
		}
	}
	if len(f.waiting) > 0 {
		return nil, nil
	}
	files = []*index.File{}
	for _, row := range rows {
		file := open[row.File]
		if file == nil {
			file, err = f.core.OpenSegment(row)
			if errors.Is(err, index.ErrNoFile) { // the writer has removed it since
				f.waiting = append(f.waiting, row)
			}
			if err != nil {
				break
			}
		}
		files = append(files, file)
	}
	if err == nil && f.owned {
		err = f.tidy(rows)
	}
	if err == nil {
		return files, nil
	}
	for _, file := range files {
		if open[file.File] == nil {
			_ = file.Close()
		}
	}
	if len(f.waiting) > 0 {
		return nil, nil
	}
	return nil, err
}

// tidy removes segment files that neither the manifest nor a running query needs.
func (f *Follower) tidy(rows []index.ManifestRow) error {
	if err := os.MkdirAll(filepath.Join(f.cfg.Dir, "segments"), 0o755); err != nil {
		return fmt.Errorf("make the directory of segments: %w", err)
	}
	for _, file := range f.retired {
		rows = append(rows[:len(rows):len(rows)], file.ManifestRow)
	}
	return f.core.RemoveStrays(rows)
}

// replaceFiles replaces compacted segments by their result, and replays the new log rows.
func (f *Follower) replaceFiles(ctx context.Context, q logrow.Queryer, v *index.Snapshot,
	files []*index.File) (*index.Snapshot, error) {
	below := len(v.Files.Files)
	base := f.core.WithFiles(v, files, func(int) int { return below })
	next, err := f.state.CatchUp(ctx, q, base)
	if err != nil {
		f.core.ReleaseFiles(base.Files)
	}
	return next, err
}

// reopen makes the snapshot of these files and of the log after them, like a start. loaded means that the state is that
// of v, so that the statuses need not be read again.
func (f *Follower) reopen(ctx context.Context, q logrow.Queryer, v *index.Snapshot, files []*index.File,
	loaded bool) (next *index.Snapshot, err error) {
	base := f.core.Base(files)
	defer func() {
		if err != nil {
			f.core.ReleaseFiles(base.Files)
		}
	}()
	if loaded && base.Sealed <= v.Seq {
		return f.state.Rebase(ctx, q, base, v.Seq, f.bounded)
	}
	return f.state.Rebuild(ctx, q, base, f.bounded)
}

// bounded returns an error if the log rows that no segment has exceed HoldBytes.
func (f *Follower) bounded(v *index.Snapshot) (*index.Snapshot, error) {
	if v.MutableBytes() >= f.hold {
		return nil, fmt.Errorf("log rows from %d on are not in segments yet, and too many for memory: waiting for the "+
			"primary to write segments", v.Sealed+1)
	}
	return v, nil
}
