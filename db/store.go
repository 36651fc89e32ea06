// Package db is the store: the log in weft.db, the index in memory that is rebuilt from it, and the queries. It is the
// only package with SQL. A public method of Store is a transaction.
package db

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/link"
)

// Config configures a store.
type Config struct {
	Dir    string           // where weft.db lies; created when missing. Required.
	Logger *slog.Logger     // nil: none
	Now    func() time.Time // nil: time.Now

	// SealBytes is how much memory the runs in memory may take before they become a segment, in bytes; 0: 24 MiB.
	SealBytes int
	// CacheBytes bounds the blocks of segments that are kept decoded in memory, in bytes; 0: 32 MiB.
	CacheBytes int64
	// ReplayWindow is how long log rows stay that are in a segment; 0: for ever, so that the index can be rebuilt from
	// the log alone.
	ReplayWindow time.Duration
	// JobRecords is how many records one step of a change of status changes, or of the rewriting of links that an older
	// program spelled otherwise; 0: 2,000.
	JobRecords int
	// JobRest is how long such a change rests when the account changed its status shortly before; 0: a second, negative: not
	// at all.
	JobRest time.Duration
	// DedupEvents is how many events a half of the window has at most by which late events are told from repeats; 0: 524,288,
	// and then one that is not full lasts a quarter of an hour.
	DedupEvents int
	// Bodies says which records' content is kept: BodiesOff keeps none.
	Bodies Bodies
	// Checkpoint says when the WAL is moved into the database; the zero Rule: checkpoint.Default.
	Checkpoint checkpoint.Rule
	// Lock is Dir, which this process has taken already. Open takes the lock over, also when it fails. nil: Open locks Dir.
	Lock *DirLock
	// Replicator says that somebody else checkpoints, in this process or in another: Checkpoint then says only when a WAL that
	// they leave as it is gives cause for a warning.
	Replicator bool
	// OnSegment is called with the path of each new segment before the transaction that enters it begins, and says when it has
	// done enough that the transaction may be replicated. With merged, nobody waits for it. What it returns is a failure of the
	// seal or the merge, and stops writing. Nil: nobody is called.
	OnSegment func(path string, merged bool) error
	// Fetch brings a segment back from the replica that is missing or damaged when the store is opened: when it returns nil,
	// the file is at its place, whole. Nil: there is no replica.
	Fetch func(ctx context.Context, s ManifestFile) error
	// Progress is told what is being done while the store is opened, where that may take long, and how far it is, in log rows;
	// all is 0 where that isn't known. Nil: nobody.
	Progress func(what string, done, all uint64)
	// Failpoint is called by the steps of sealing, merging and pruning, with their names; what it returns is their failure.
	// Nil in production; tests end the process there.
	Failpoint func(name string) error
}

// Store is an open data directory, and an Index of it. Apply has one caller at a time.
type Store struct {
	Index
	state
	history
	lock   *os.File
	writer *sql.DB

	inserts inserters
	rows    rows // of the batch before, for its memory
	wal     wal

	sealing     *immutable // nil: none under way
	sealed      sync.Cond  // a seal has ended; on mu
	hurry       bool       // nobody waits for one any more
	troubles    troubles
	waits       waiting
	log         logWindow
	sealWork    chan struct{}
	compactWork chan struct{}
	jobWork     chan struct{}
	spellWork   chan struct{}
	spelling    spelling
	rests       map[uint64]rest // accounts that changed their status by a job, lately
	jobTimer    *time.Timer     // wakes jobWork when the first of them may go on
	closed      chan struct{}
	closing     sync.Once
	workers     sync.WaitGroup
}

// ErrFailed is what Apply answers after a fault of the database: nothing is written any more, and queries go on.
var ErrFailed = errors.New("writing has stopped after a fault")

// DefaultCacheBytes holds some thousand blocks: the tops of the lists that are asked for again and again.
const DefaultCacheBytes = 32 << 20

// readers is how many queries touch the database at once: names are all that they read there, from pages that are
// mostly in memory, so that more than a few connections only add memory.
const readers = 4

// busyTimeout is how long the writer waits for a lock: a checkpoint of a replicator can hold one for long.
const busyTimeout = time.Minute

// Open opens a data directory, or makes one, and rebuilds the index from its log.
func Open(cfg Config) (*Store, error) { return OpenContext(context.Background(), cfg) }

// OpenContext is Open, which ends early with the error of ctx when ctx ends. What was replayed until then and is in segments is
// not replayed again by the next Open.
func OpenContext(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		jobWork:     make(chan struct{}, 1),
		spellWork:   make(chan struct{}, 1),
		sealWork:    make(chan struct{}, 1),
		compactWork: make(chan struct{}, 1),
		closed:      make(chan struct{}),
	}
	s.defaults(cfg)
	s.state = newState(&s.cfg)
	if cfg.Checkpoint.IsZero() {
		s.cfg.Checkpoint = checkpoint.Default()
	}
	s.wal.pace = pace{rule: s.cfg.Checkpoint, last: s.cfg.Now()}
	s.sealed.L = &s.mu
	s.rests = map[uint64]rest{}
	s.jobTimer = time.AfterFunc(time.Hour, func() { wake(s.jobWork) })
	s.jobTimer.Stop()
	if err := s.open(ctx); err != nil {
		_ = s.closeFiles()
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return nil, diskError(s.cfg.Dir, err)
	}
	s.work("seal", s.sealWork, func() error { return s.persist("writing a segment", s.seal) })
	s.work("merge", s.compactWork, func() error { return s.persist("compaction", s.compactAll) })
	s.work("jobs", s.jobWork, s.runJobs)
	s.work("spelling", s.spellWork, s.respell)
	wake(s.compactWork)
	wake(s.jobWork)
	wake(s.spellWork)
	if !s.cfg.Checkpoint.Off() {
		s.workers.Go(func() {
			defer logPanic(s.cfg.Logger, "checkpoint")
			tick(checkpointTick, s.closed, s.tickCheckpoint)
		})
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("db: make data directory: %w", err)
	}
	if s.lock, err = s.takeDir(); err != nil {
		return err
	}
	if err := checkRestored(s.cfg.Dir); err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Dir, "weft.db")
	s.wal.path = path + "-wal"
	uri, err := fileURI(path)
	if err != nil {
		return err
	}
	if err := refuseNewer(uri, path); err != nil {
		return fmt.Errorf("db: %s: %w", path, err)
	}
	// FULL: with NORMAL, a power cut can take back commits that a replica already holds; at a commit each 100 ms it costs
	// nothing measurable.
	s.writer, err = sql.Open("sqlite", uri+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+
		"&_pragma=wal_autocheckpoint(0)&_pragma=temp_store(MEMORY)&_pragma=busy_timeout("+strconv.FormatInt(busyTimeout.Milliseconds(), 10)+")")
	if err != nil {
		return fmt.Errorf("db: open %s: %w", path, err)
	}
	s.writer.SetMaxOpenConns(1)
	if at, err := copyPosition(s.writer); err == nil && at > 0 { // a file that can't be read is refused below
		return fmt.Errorf("db: %s is a follower's copy of another weft's index: serve it with --follow, or restore an index into another directory (weft restore)", path)
	}
	if err := migrate(s.writer); err != nil {
		return fmt.Errorf("db: %s: %w", path, err)
	}
	if s.cfg.Replicator || s.cfg.Checkpoint.Off() {
		if err := persistWAL(ctx, s.writer); err != nil {
			return fmt.Errorf("db: keep the WAL of %s: %w", path, err)
		}
	}
	if err := s.connect(uri, ""); err != nil {
		return fmt.Errorf("db: open %s for reading: %w", path, err)
	}
	if s.beside, err = sql.Open("sqlite", readURI(uri)); err != nil {
		return fmt.Errorf("db: open %s beside the writer: %w", path, err)
	}
	s.beside.SetMaxOpenConns(1)
	if err := s.beside.Ping(); err != nil { // it stays open: the writer must not lack a descriptor for it later
		return fmt.Errorf("db: open %s beside the writer: %w", path, err)
	}
	if err := s.inserts.prepare(s.writer, s.cfg.Bodies != BodiesOff); err != nil {
		return err
	}
	return s.load(ctx, path)
}

// load reads what is kept in memory.
func (s *Store) load(ctx context.Context, path string) error {
	start := s.cfg.Now()
	if err := s.begin(); err != nil {
		return fmt.Errorf("db: name the index in %s: %w", path, err)
	}
	if err := s.beginChecksums(ctx); err != nil {
		return fmt.Errorf("db: compute the checksums of %s: %w", path, err)
	}
	if err := s.reader.GetContext(ctx, &s.logEnd, "SELECT ifnull(max(seq), 0) FROM records"); err != nil {
		return fmt.Errorf("db: read the end of the log of %s: %w", path, err)
	}
	files, err := s.openOrRebuildSegments(ctx)
	if err != nil {
		return fmt.Errorf("db: %w", err)
	}
	s.snapshot.Store(s.base(files))
	var v *Snapshot
	if err := s.inReadTx(ctx, func(q queryer) (err error) {
		v, err = s.rebuild(ctx, q, s.snapshot.Load(), s.sealReplayed)
		return err
	}); errors.Is(err, ErrDamaged) {
		return fmt.Errorf("db: %s: %w: "+mendStore, path, err, s.cfg.Dir)
	} else if err != nil {
		return fmt.Errorf("db: %s: %w", path, err)
	}
	s.snapshot.Store(v)
	if err := s.loadWindow(ctx); err != nil {
		return fmt.Errorf("db: read the marks of %s: %w", path, err)
	}
	if err := s.loadBodies(ctx); err != nil {
		return fmt.Errorf("db: read the bodies of %s: %w", path, err)
	}
	if err := s.loadSpelling(); err != nil {
		return fmt.Errorf("db: read the spelling of %s: %w", path, err)
	}
	s.dedup = newDedupWindow(s.cfg.DedupEvents, v.seq, v.maxUS)
	s.cfg.Logger.Info("index opened", "links", v.targets.Total(), "segments", len(v.files.files), "records", v.linking, "log_seq", v.seq,
		"memory_bytes", v.bytes(), "duration", s.cfg.Now().Sub(start).Round(time.Millisecond))
	return nil
}

// fileURI is a path as SQLite takes it before parameters: a ? or a % in it is its own.
func fileURI(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("db: find %s: %w", path, err)
	}
	return "file://" + (&url.URL{Path: filepath.ToSlash(abs)}).EscapedPath(), nil
}

// begin names a new index, and reads the name.
func (s *Store) begin() error {
	// A new index, which has no name yet, has links of the present spelling only.
	if _, err := s.writer.Exec("UPDATE meta SET value = ? WHERE key = ? AND NOT EXISTS (SELECT 1 FROM meta WHERE key = 'instance')",
		link.Spelling, metaSpelling); err != nil {
		return err
	}
	if _, err := s.writer.Exec("INSERT INTO meta (key, value) VALUES ('instance', ?), ('created', ?) ON CONFLICT DO NOTHING",
		rand.Text(), s.cfg.Now().UTC().Format("2006-01-02T15:04:05Z")); err != nil {
		return err
	}
	return s.writer.QueryRow("SELECT value FROM meta WHERE key = 'instance'").Scan(&s.instance)
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// fail stops writing, for good.
func (s *Store) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	if s.failed.CompareAndSwap(nil, &err) {
		s.cfg.Logger.Error("writing stopped; queries still work", "err", err,
			"do", "free disk space or repair the disk, then restart weft: committed data is safe, and weft resumes from it")
	}
	return err
}

// Close closes the files. It must not be called during a query. A second call does nothing, and returns nil.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		close(s.closed)
		s.Hurry()
		s.workers.Wait()
		s.jobTimer.Stop()
		err = s.closeFiles()
	})
	return err
}

func (s *Store) closeFiles() error {
	var errs []error
	if v := s.snapshot.Load(); v != nil {
		s.releaseFiles(v.files)
	}
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.beside != nil {
		errs = append(errs, s.beside.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.lock != nil {
		errs = append(errs, unlockDir(s.lock))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("db: close: %w", err)
	}
	return nil
}
