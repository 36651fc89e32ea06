package db

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/segment"
)

// Index answers the queries of a Store, which writes, and of a Follower, which reads what another process writes. It
// has no connection that writes. Its queries are safe for concurrent use.
type Index struct {
	cfg    Config
	reader *sqlx.DB

	mu       sync.Mutex // serialises the changes of the snapshot
	snapshot atomic.Pointer[Snapshot]
	commits  signal
	failed   atomic.Pointer[error] // the fault that stopped writing
	instance string

	seals, compactions worked // of a follower, none
	// Bytes written to the WAL and by checkpoints since the store was opened; of a follower, none.
	walBytes, checkpointBytes atomic.Int64

	files  sync.Mutex // guards the counts of file sets and files
	blocks *segment.Cache

	didCache    cache[uint64, string]
	nsidCache   cache[uint64, string]
	sourceCache cache[uint64, Source]
}

// defaults sets the configuration, with defaults for unset fields, and makes the cache of blocks.
func (s *Index) defaults(cfg Config) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.SealBytes <= 0 {
		cfg.SealBytes = defaultSealBytes
	}
	if cfg.JobRecords <= 0 {
		cfg.JobRecords = defaultJobRecords
	}
	if cfg.JobRest == 0 {
		cfg.JobRest = defaultJobRest
	}
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = DefaultCacheBytes
	}
	s.cfg = cfg
	s.blocks = segment.NewCache(cfg.CacheBytes)
}

// connect opens weft.db for reading only, with further parameters.
func (s *Index) connect(uri, more string) (err error) {
	s.reader, err = sqlx.Open("sqlite", readURI(uri)+more)
	if err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return nil
}

// readURI returns the URI that opens a database for reading only; parameters may be appended.
func readURI(uri string) string {
	return uri + "?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(5000)"
}

// inReadTx calls do with a transaction, which reads one moment over one connection.
func (s *Index) inReadTx(ctx context.Context, do func(q logrow.Queryer) error) error {
	tx, err := s.reader.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return do(tx)
}

// Failed returns the fault that stopped writing; nil: none.
func (s *Index) Failed() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Instance returns the random name of this index, which a restore keeps.
func (s *Index) Instance() string { return s.instance }
