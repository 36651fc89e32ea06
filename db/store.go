// Package db is the store: the log in weft.db, the index in memory that is rebuilt from it, and the queries. No package
// outside its directory has SQL. A public method of Store is a transaction.
package db

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/pagecopy"
	"weft.dev/weft/db/panics"
	"weft.dev/weft/db/schema"
	"weft.dev/weft/db/sqliteuri"
	"weft.dev/weft/link"
)

// Config configures a store.
type Config struct {
	Dir    string           // directory of weft.db; created if it is missing. Required.
	Logger *slog.Logger     // nil: none
	Now    func() time.Time // nil: time.Now

	// SealBytes is the memory that mutable runs may take before they are sealed into a segment, in bytes; 0: 24 MiB.
	SealBytes int
	// CacheBytes bounds the cache of decoded segment blocks, in bytes; 0: 32 MiB.
	CacheBytes int64
	// ShortList is the longest list whose accounts are counted by reading it; 0: index.ShortList. Only tests change it.
	ShortList int64
	// SetsOver is the number of entries of a list in a segment above which the segment has the set of its accounts; 0: as
	// of segment.Options. Only tests change it.
	SetsOver int
	// ReplayWindow is the retention of log rows that a segment covers; 0: for ever, so that the index can be rebuilt
	// from the log alone.
	ReplayWindow time.Duration
	// Keep states how long links are kept; the zero Rules: for ever. Rules with fit need a Budget.
	Keep keep.Rules
	// JobRecords is the number of records that a step of a job changes: of a change of account status, or of the
	// rewriting of links to the current normalisation; 0: 2,000.
	JobRecords int
	// JobRest is the pause of a job whose account changed its status shortly before; 0: a second, negative: none.
	JobRest time.Duration
	// DedupEvents bounds the events in each generation of the dedup window; 0: 524,288. A generation that is not full
	// lasts 15 minutes.
	DedupEvents int
	// Bodies states which bodies of records are stored; the zero value: none.
	Bodies Bodies
	// Checkpoint is the rule for checkpoints of the WAL; the zero Rule: checkpoint.Default.
	Checkpoint checkpoint.Rule
	// Lock is the lock of this process on Dir. Open takes the lock over, also if it fails. Nil: Open locks Dir.
	Lock *dirlock.Lock
	// Replicator means that a replicator checkpoints, in this process or in another one. Checkpoint then only
	// determines when a WAL that is not checkpointed causes a warning.
	Replicator bool
	// OnSegment is called with the path of each new segment before the transaction that adds it to the manifest. It
	// returns once that transaction may be replicated; after a compaction (merged), no writer waits for it. Its error
	// fails the seal or the compaction, and stops writing. Nil: no call.
	OnSegment func(path string, merged bool) error
	// Fetch downloads a missing or damaged segment from the replica while the store opens: after a nil error the whole
	// file is in its place. Nil: there is no replica.
	Fetch func(ctx context.Context, s ManifestFile) error
	// Progress is called while the store opens, with the present step and its progress in log rows; all is 0 where the
	// number is unknown. Nil: no call.
	Progress func(what string, done, all uint64)
	// Budget bounds the bytes of all files in Dir: indexing pauses before they take more. The zero Budget sets no bound
	// beside the disk.
	Budget disk.Budget
	// Scratch is a directory in Dir where a verification of the replica restores weft.db. The budget has room for one
	// copy at any time. Empty: nothing is restored there.
	Scratch string
	// Disk returns the free and the total bytes of a directory's disk, without those that only root may use; 0 of 0: not
	// known. Nil: the system's figures. Tests simulate a disk.
	Disk func(dir string) (free, total int64, err error)
	// Pacer rests during compactions. The replicator of the same disk has the same. Nil: nothing rests.
	Pacer *disk.Pacer
	// Failpoint is called at the steps of seals, compactions and pruning, with their names; its error is the failure of
	// the step. Nil in production; tests end the process there.
	Failpoint func(name string) error
}

// Store is an open data directory, with the queries of its Index. Apply has one caller at a time.
type Store struct {
	Index
	state   *apply.State
	history *apply.History // nil before the end of the replay
	lock    *dirlock.Lock
	writer  *sql.DB
	beside  *sql.DB // reads committed rows beside the writer's open transaction
	bodies  bodies
	// now measures how long steps take, for the rests after them; time.Now except in tests. Config.Now is the clock of
	// the log, which tests move by hours.
	now func() time.Time

	inserts inserters
	buffers apply.Buffers // of the last batch
	wal     wal

	sealing     *immutable // nil: no seal is under way
	sealed      sync.Cond  // a seal has ended, or the free space was read; on mu
	hurry       bool       // Apply no longer waits for a seal or for room
	troubles    troubles
	waits       waiting
	log         logWindow
	sealWork    chan struct{}
	compactWork chan struct{}
	full        *fullCompaction // nil: none is requested; on mu
	outRecords  int64           // records that compactions have dropped because they are out; on mu
	pruneWork   chan struct{}
	free        freePages
	jobWork     chan struct{}
	spellWork   chan struct{}
	spelling    spelling
	rests       map[uint64]rest // accounts whose status a job changed recently
	jobTimer    *time.Timer     // wakes jobWork when the first rest ends
	closed      chan struct{}
	closing     sync.Once
	workers     sync.WaitGroup
}

// ErrFailed is the error of Apply after a fault of the database: writing has stopped, and queries still work.
var ErrFailed = errors.New("writing has stopped after a fault")

// DefaultCacheBytes holds about four thousand blocks: the newest ends of the lists that are queried most.
const DefaultCacheBytes = 32 << 20

// busyTimeout is the time that the writer waits for a lock: a replicator's checkpoint can hold one for long.
const busyTimeout = time.Minute

// Open opens a data directory, or creates it, and rebuilds the index from its log.
func Open(cfg Config) (*Store, error) { return OpenContext(context.Background(), cfg) }

// OpenContext is Open with a context. If ctx ends, the next Open continues after the segments that this one has
// written.
func OpenContext(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		jobWork:     make(chan struct{}, 1),
		spellWork:   make(chan struct{}, 1),
		sealWork:    make(chan struct{}, 1),
		compactWork: make(chan struct{}, 1),
		pruneWork:   make(chan struct{}, 1),
		closed:      make(chan struct{}),
		now:         time.Now,
	}
	s.defaults(cfg)
	s.openGaps = &openGaps{}
	s.state = s.newState()
	if cfg.Checkpoint.IsZero() {
		s.cfg.Checkpoint = checkpoint.Default()
	}
	s.wal.pace = checkpoint.NewPace(s.cfg.Checkpoint, s.cfg.Now())
	s.sealed.L = &s.mu
	s.rests = map[uint64]rest{}
	s.jobTimer = time.AfterFunc(time.Hour, func() { wake(s.jobWork) })
	s.jobTimer.Stop()
	if err := s.open(ctx); err != nil {
		_ = s.closeFiles()
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return nil, disk.WrapFull(s.cfg.Dir, err, s.cfg.Disk)
	}
	s.watchDisk()
	s.work("seal", s.sealWork, func() error { return s.persist("writing a segment", s.seal) })
	s.work("compaction", s.compactWork, func() error { return s.persist("compaction", s.compactAll) })
	s.work("prune", s.pruneWork, s.pruneAll)
	s.work("jobs", s.jobWork, s.runJobs)
	s.work("spelling", s.spellWork, s.respell)
	wake(s.compactWork)
	wake(s.jobWork)
	wake(s.spellWork)
	s.workers.Go(func() {
		defer panics.Log(s.cfg.Logger, "disk")
		tick(lookEvery, s.closed, s.watchDisk)
	})
	s.workers.Go(func() {
		defer panics.Log(s.cfg.Logger, "prune tick")
		tick(pruneTick, s.closed, func() { wake(s.pruneWork) })
	})
	if !s.cfg.Checkpoint.Off() {
		s.workers.Go(func() {
			defer panics.Log(s.cfg.Logger, "checkpoint")
			tick(checkpointTick, s.closed, s.tickCheckpoint)
		})
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	s.lock = s.cfg.Lock.Take()
	if s.lock == nil {
		s.lock, err = dirlock.Exclusive(s.cfg.Dir)
		if err != nil {
			return err
		}
	}
	if err := checkRestored(s.cfg.Dir); err != nil {
		return err
	}
	path := filepath.Join(s.cfg.Dir, "weft.db")
	s.wal.path = path + "-wal"
	uri, err := sqliteuri.File(path)
	if err != nil {
		return err
	}
	if err := schema.RefuseNewer(uri, path); err != nil {
		return fmt.Errorf("db: %s: %w", path, err)
	}
	// FULL: with NORMAL, a power cut can take back commits that a replica already holds; at a commit each 100 ms it
	// costs nothing measurable.
	s.writer, err = sql.Open("sqlite", uri+"?_txlock=immediate"+vacuumMode(path)+
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(0)&_pragma=temp_store(MEMORY)"+
		"&_pragma=busy_timeout("+strconv.FormatInt(busyTimeout.Milliseconds(), 10)+")")
	if err != nil {
		return fmt.Errorf("db: open %s: %w", path, err)
	}
	s.writer.SetMaxOpenConns(1)
	if at, err := pagecopy.Position(s.writer); err == nil && at > 0 { // an unreadable file is refused below
		return fmt.Errorf("db: %s is a follower's copy of another weft's index: serve it with --follow, or restore an "+
			"index into another directory (weft restore)", path)
	}
	if err := schema.Migrate(ctx, s.writer, s.cfg.Logger); err != nil {
		return fmt.Errorf("db: %s: %w", path, err)
	}
	if s.cfg.Replicator || s.cfg.Checkpoint.Off() {
		if err := persistWAL(ctx, s.writer); err != nil {
			return fmt.Errorf("db: keep the WAL of %s: %w", path, err)
		}
	}
	if err := s.core.Connect(uri, ""); err != nil {
		return fmt.Errorf("db: open %s for reading: %w", path, err)
	}
	s.beside, err = sql.Open("sqlite", sqliteuri.ReadOnly(uri))
	if err != nil {
		return fmt.Errorf("db: open %s beside the writer: %w", path, err)
	}
	s.beside.SetMaxOpenConns(1)
	if err := s.beside.Ping(); err != nil { // open from now on: the writer must not lack a descriptor for it later
		return fmt.Errorf("db: open %s beside the writer: %w", path, err)
	}
	if err := s.inserts.prepare(s.writer, s.cfg.Bodies != BodiesOff); err != nil {
		return err
	}
	return s.load(ctx, path)
}

// load rebuilds what the store keeps in memory.
func (s *Store) load(ctx context.Context, path string) error {
	start := s.cfg.Now()
	if err := s.begin(); err != nil {
		return fmt.Errorf("db: name the index in %s: %w", path, err)
	}
	if err := s.beginChecksums(ctx); err != nil {
		return fmt.Errorf("db: compute the checksums of %s: %w", path, err)
	}
	files, err := s.openOrRebuildSegments(ctx)
	if err != nil {
		return fmt.Errorf("db: %w", err)
	}
	s.core.SetSnapshot(s.core.Base(files))
	var v *index.Snapshot
	if err := s.core.InReadTx(ctx, func(q logrow.Queryer) (err error) {
		v, err = s.state.Rebuild(ctx, q, s.core.Snapshot(), s.sealReplayed)
		return err
	}); errors.Is(err, logrow.ErrDamaged) {
		return fmt.Errorf("db: %s: %w: "+index.MendStore, path, err, s.cfg.Dir)
	} else if err != nil {
		return fmt.Errorf("db: %s: %w", path, err)
	}
	s.core.SetSnapshot(v)
	if err := s.loadWindow(ctx); err != nil {
		return fmt.Errorf("db: read the marks of %s: %w", path, err)
	}
	if err := s.loadBodies(ctx); err != nil {
		return fmt.Errorf("db: read the bodies of %s: %w", path, err)
	}
	if err := s.beginRetention(ctx); err != nil {
		return fmt.Errorf("db: begin the retention of %s: %w", path, err)
	}
	if err := s.loadSpelling(); err != nil {
		return fmt.Errorf("db: read the spelling of %s: %w", path, err)
	}
	s.history = apply.NewHistory(s.beside, s.cfg.DedupEvents, v)
	s.cfg.Logger.Info("index opened", "links", v.Targets.Total(), "segments", len(v.Files.Files), "records", v.Linking,
		"log_seq", v.Seq,
		"memory_bytes", v.Memory(), "duration", s.cfg.Now().Sub(start).Round(time.Millisecond))
	return nil
}

// begin gives a new index its name, and reads the name.
func (s *Store) begin() error {
	// A new index, which has no name yet, has links of the present spelling only.
	_, err := s.writer.Exec(
		"UPDATE meta SET value = ? WHERE key = ? AND NOT EXISTS (SELECT 1 FROM meta WHERE key = 'instance')",
		link.Spelling, metaSpelling)
	if err != nil {
		return err
	}
	_, err = s.writer.Exec("INSERT INTO meta (key, value) VALUES ('instance', ?), ('created', ?) ON CONFLICT DO NOTHING",
		rand.Text(), s.cfg.Now().UTC().Format("2006-01-02T15:04:05Z"))
	if err != nil {
		return err
	}
	return s.writer.QueryRow("SELECT value FROM meta WHERE key = 'instance'").Scan(&s.core.Instance)
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// fail stops writing until the store is opened again, and returns err wrapped in ErrFailed.
func (s *Store) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	if s.failed.CompareAndSwap(nil, &err) {
		s.cfg.Logger.Error("writing stopped; queries still work", "err", err,
			"do", "if the disk is full, enlarge it or delete files of other programs from it; else repair or replace it; "+
				"then restart weft: committed data is safe, and weft resumes from it")
	}
	return err
}

// Close closes the files. It must not be called during a query. A second call does nothing and returns nil.
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
	if v := s.core.Snapshot(); v != nil {
		s.core.ReleaseFiles(v.Files)
	}
	if s.core.Reader != nil {
		errs = append(errs, s.core.Reader.Close())
	}
	if s.beside != nil {
		errs = append(errs, s.beside.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	errs = append(errs, s.lock.Release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("db: close: %w", err)
	}
	return nil
}
