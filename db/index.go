package db

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"weft.dev/weft/db/segment"
)

// Index answers queries: what a Store, which writes, and a Follower, which reads what another process writes, have in
// common. It has no connection that writes. Its queries are safe for concurrent use.
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

// queryer reads: a connection's pool, or a transaction of it, in which all that is read is of one moment.
type queryer interface {
	GetContext(ctx context.Context, into any, query string, args ...any) error
	SelectContext(ctx context.Context, into any, query string, args ...any) error
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
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

// connect opens weft.db for reading only, with these further parameters.
func (s *Index) connect(uri, more string) (err error) {
	if s.reader, err = sqlx.Open("sqlite", readURI(uri)+more); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	return nil
}

// readURI opens a database for reading only; parameters may follow.
func readURI(uri string) string {
	return uri + "?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(5000)"
}

// inReadTx has all that do reads be of one moment, over one connection.
func (s *Index) inReadTx(ctx context.Context, do func(q queryer) error) error {
	tx, err := s.reader.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return do(tx)
}

// Failed is the fault that stopped writing, nil while all is well.
func (s *Index) Failed() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Instance is the random name of this index, kept by a restore.
func (s *Index) Instance() string { return s.instance }
