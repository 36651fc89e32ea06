package db

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/index"
)

// Index answers the queries of a Store, which writes its files, and of a Follower, which reads the files of another
// process. It has no connection that writes. Its queries are safe for concurrent use.
type Index struct {
	index.Queries
	core *index.Core
	cfg  Config

	mu      sync.Mutex // serialises the changes of the snapshot
	commits signal
	// openGaps counts the open gaps; nil: another process changes them, and each Stats walks them.
	openGaps *openGaps
	failed   atomic.Pointer[error] // the fault that stopped writing
	growth   disk.Growth
	room     room // unused in a follower
	use      *disk.Usage

	seals, compactions worked // zero in a follower
	// Bytes written to the WAL and by checkpoints since the store was opened; zero in a follower.
	walBytes, checkpointBytes atomic.Int64
}

// defaults sets the configuration, with defaults for unset fields, and makes the core.
func (s *Index) defaults(cfg Config) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Disk == nil {
		cfg.Disk = disk.Space
	}
	if cfg.SealBytes <= 0 {
		cfg.SealBytes = defaultSealBytes
	}
	if cfg.JobRecords <= 0 {
		cfg.JobRecords = apply.DefaultJobRecords
	}
	if cfg.JobRest == 0 {
		cfg.JobRest = defaultJobRest
	}
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = DefaultCacheBytes
	}
	s.cfg = cfg
	s.use = disk.NewUsage(cfg.Dir, cfg.Scratch)
	s.core = index.NewCore(index.CoreConfig{Dir: cfg.Dir, Logger: cfg.Logger, CacheBytes: cfg.CacheBytes,
		ShortList: cfg.ShortList, EagerSets: cfg.SetsOver > 0, Failpoint: cfg.Failpoint})
	s.Queries = s.core.Queries()
}

// newState returns the state of an empty index with the configuration of s.
func (s *Index) newState() *apply.State {
	return apply.NewState(apply.StateConfig{Logger: s.cfg.Logger, Now: s.cfg.Now, JobRecords: s.cfg.JobRecords,
		Progress: s.cfg.Progress})
}

// Failed returns the fault that stopped writing; nil: none.
func (s *Index) Failed() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Instance returns the random name of this index, which a restore keeps.
func (s *Index) Instance() string { return s.core.Instance }

// Commits returns a channel that is closed when queries see the next batch. A caller that takes the channel before it
// reads Seq misses no batch.
func (s *Index) Commits() <-chan struct{} { return s.commits.wait() }

// signal wakes any number of waiters. The zero signal is ready.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // nil: no waiter
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
