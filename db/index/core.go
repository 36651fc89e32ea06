// Package index is the index as it is read: the present snapshot, the segments under it, the names, and the queries. It
// writes nothing. Package db changes the index and is built on it.
package index

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/jmoiron/sqlx"

	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/segment"
	"weft.dev/weft/db/sqliteuri"
)

// CoreConfig configures a core.
type CoreConfig struct {
	Dir        string // the data directory
	Logger     *slog.Logger
	CacheBytes int64                   // bounds the cache of decoded segment blocks
	ShortList  int64                   // the longest list that is counted by iteration; 0: ShortList
	EagerSets  bool                    // mark lists by sets, and cache sums by source, whatever that costs; only tests do
	Failpoint  func(name string) error // called before a file is removed; nil: no call
}

// Core is what the queries and the one that changes the index share: the present snapshot, the segments, the
// connections that read weft.db, and the names. Its methods are safe for concurrent use.
type Core struct {
	CoreConfig
	Reader   *sqlx.DB
	Instance string  // the name of the index; set once, before the first query
	Tail     LogTail // the newest rows of the log

	current atomic.Pointer[Snapshot]
	filesMu sync.Mutex // guards the counts of file sets and files, and retired
	retired int64      // bytes of the files that are removed with their last reference
	Blocks  *segment.Cache

	deriving oneAtATime // marks and sets of lists

	statementsMu sync.Mutex
	dids         *sql.Stmt // of didsQuery; nil: not prepared yet

	didCache    cache[uint64, string]
	nsidCache   cache[uint64, string]
	sourceCache cache[uint64, Source]
}

// Queries answers the queries over a core. They are safe for concurrent use.
type Queries struct{ core *Core }

// Readers bounds the connections of queries: they read only names from the database, from pages that are mostly in
// memory, and more connections would only take memory.
const Readers = 4

// NewCore returns a core without a connection and without a snapshot.
func NewCore(cfg CoreConfig) *Core {
	if cfg.ShortList == 0 {
		cfg.ShortList = ShortList
	}
	return &Core{CoreConfig: cfg, Blocks: segment.NewCache(cfg.CacheBytes),
		didCache:    newCache(didCacheBytes, nameSize),
		nsidCache:   newCache(kindCacheBytes, nameSize),
		sourceCache: newCache(kindCacheBytes, sourceSize)}
}

// Queries returns the queries over the core.
func (c *Core) Queries() Queries { return Queries{c} }

// Snapshot returns the present snapshot; nil before the first. It holds no files: a query acquires it instead.
func (c *Core) Snapshot() *Snapshot { return c.current.Load() }

// SetSnapshot makes a snapshot with the same files the present one.
func (c *Core) SetSnapshot(v *Snapshot) { c.current.Store(v) }

// Connect opens weft.db for reading only, with further parameters.
func (c *Core) Connect(uri, more string) (err error) {
	c.Reader, err = sqlx.Open("sqlite", sqliteuri.ReadOnly(uri)+more)
	if err != nil {
		return err
	}
	c.Reader.SetMaxOpenConns(Readers)
	c.Reader.SetMaxIdleConns(Readers)
	return nil
}

// InReadTx calls do with a transaction, which reads one moment over one connection.
func (c *Core) InReadTx(ctx context.Context, do func(q logrow.Queryer) error) error {
	tx, err := c.Reader.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return do(tx)
}
