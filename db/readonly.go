package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/jmoiron/sqlx"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/schema"
	"weft.dev/weft/db/sqliteuri"
)

// ErrNoIndex is the error of a directory without a weft.db.
var ErrNoIndex = errors.New("there is no weft.db in it")

// ReadOnly is a data directory that is open for reading. It has no connection that writes and no worker. It never
// migrates the schema, and changes no file. The caller loads the snapshot that it needs.
type ReadOnly struct {
	Index
	state  *apply.State
	lock   *dirlock.Lock // nil: a weft may write beside it
	beside bool          // a weft has the directory open
	noWAL  bool          // weft.db had no WAL
	tx     *sqlx.Tx      // nil before Pin
}

// OpenReadOnly opens a data directory for reading. A weft may write it at the same time: each query or transaction then
// sees one of its commits, and after Pin all see the same commit; segment files never change. If no weft writes,
// OpenReadOnly prevents others from starting to. With exclusive it refuses a directory that a weft has open.
func OpenReadOnly(dir string, exclusive bool) (*ReadOnly, error) {
	path := filepath.Join(dir, "weft.db")
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("db: %s: %w", dir, ErrNoIndex)
	}
	if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	r := &ReadOnly{}
	r.defaults(Config{Dir: dir})
	r.state = r.newState()
	if exclusive {
		r.lock, err = dirlock.Exclusive(dir)
		if err != nil {
			return nil, err
		}
	}
	if !exclusive {
		r.lock, r.beside = dirlock.Shared(dir)
	}
	if err := r.open(path); err != nil {
		_ = r.Close()
		return nil, disk.WrapFull(dir, fmt.Errorf("db: %s: %w", path, err), disk.Space)
	}
	return r, nil
}

// open opens weft.db. Without a WAL, the file is complete and no process writes it, because a replicator holds the WAL
// open. open then opens it as immutable: otherwise SQLite would create the two files of a WAL.
func (r *ReadOnly) open(path string) error {
	uri, err := sqliteuri.File(path)
	if err != nil {
		return err
	}
	immutable := ""
	_, err = os.Stat(path + "-wal")
	r.noWAL = errors.Is(err, os.ErrNotExist)
	if r.noWAL {
		immutable = "&immutable=1"
	}
	if err := r.core.Connect(uri, immutable); err != nil {
		return err
	}
	if err := schema.Check(r.core.Reader); err != nil {
		return err
	}
	if err := r.core.Reader.Get(&r.core.Instance, "SELECT value FROM meta WHERE key = 'instance'"); err != nil {
		return fmt.Errorf("read the name of the index: %w", err)
	}
	return nil
}

// OpenFile opens a weft.db alone, with any schema. No process may have it open, and it must have no WAL.
func OpenFile(path string) (*ReadOnly, error) {
	uri, err := sqliteuri.File(path)
	if err != nil {
		return nil, err
	}
	return openDatabase(path, uri+"?mode=ro&immutable=1")
}

// openDatabase opens a weft.db alone, by its URI, with any schema.
func openDatabase(name, uri string) (*ReadOnly, error) {
	reader, err := sqlx.Open("sqlite", uri)
	if err != nil {
		return nil, fmt.Errorf("db: open %s: %w", name, err)
	}
	reader.SetMaxOpenConns(1)
	r := &ReadOnly{}
	r.defaults(Config{})
	r.state = r.newState()
	r.core.Reader = reader
	return r, nil
}

// maxUnsealed is the number of log rows that Load replays in memory: several times the rows that serve leaves without a
// segment when it stops. Only an interrupted rebuild leaves more.
const maxUnsealed = 4_000_000

// Reader returns a reader of weft.db. After Pin it reads as of one moment.
func (r *ReadOnly) Reader() logrow.Queryer {
	if r.tx != nil {
		return r.tx
	}
	return r.core.Reader
}

// Pin begins the transaction that Reader reads in until Unpin or Close: weft.db as of one moment. open opens the files
// of its manifest, and reports whether one is missing. If a concurrent compaction has replaced files since the
// transaction began, Pin begins a new transaction, which has the new manifest, and calls open again.
func (r *ReadOnly) Pin(ctx context.Context, open func(rows []index.ManifestRow) (missing bool, err error)) (err error) {
	if r.beside && r.noWAL { // its next writes would be invisible, or half visible
		return fmt.Errorf("another weft is opening %s, restores it, or uses it: try again", r.cfg.Dir)
	}
	for {
		r.tx, err = r.core.Reader.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		rows, err := index.ReadManifestRows(ctx, r.tx)
		if err != nil {
			return err
		}
		missing, err := open(rows)
		if err != nil || !missing {
			return err
		}
		now, err := index.ReadManifestRows(ctx, r.core.Reader)
		if err != nil || slices.EqualFunc(now, rows, sameFile) {
			return err
		}
		r.Unpin()
	}
}

func sameFile(a, b index.ManifestRow) bool { return a.File == b.File }

// Unpin ends the transaction of Pin: during that transaction another weft cannot empty its WAL.
func (r *ReadOnly) Unpin() {
	if r.tx != nil {
		_ = r.tx.Rollback() // fails only if the transaction has ended already
		r.tx = nil
	}
}

// Load loads the newest snapshot: the segments and the log after them. It leaves weft.db pinned to that moment. what is
// the name of the command, for advice in errors.
func (r *ReadOnly) Load(ctx context.Context, what string) error {
	var files []*index.File
	var lost error
	err := r.Pin(ctx, func(rows []index.ManifestRow) (missing bool, err error) {
		closeFiles(files)
		files, lost = nil, nil
		for _, row := range rows {
			f, err := r.core.OpenSegment(row)
			if errors.Is(err, index.ErrLost) || errors.Is(err, os.ErrNotExist) {
				lost = err
				return true, nil
			}
			if err != nil {
				return false, err
			}
			files = append(files, f)
		}
		return false, nil
	})
	if err == nil && lost != nil {
		err = fmt.Errorf("%w (if the log is complete, start weft serve: it rebuilds the segments; then %s again)", lost, what)
	}
	if err != nil {
		closeFiles(files)
		return err
	}
	r.core.SetSnapshot(r.core.Base(files)) // from here on, Close closes them
	_, newest, err := logrow.Range(ctx, r.tx)
	if err != nil {
		return err
	}
	sealed := r.core.Snapshot().Sealed
	if newest > sealed+maxUnsealed {
		return fmt.Errorf("log rows %d to %d are not in segments, and too many for memory: start weft serve, which writes "+
			"the segments, and then %s again", sealed+1, newest, what)
	}
	v, err := r.state.Rebuild(ctx, r.tx, r.core.Snapshot(), nil)
	if err == nil {
		r.core.SetSnapshot(v)
	}
	return err
}

func closeFiles(files []*index.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// Core returns the snapshot, the files and the connection of the directory.
func (r *ReadOnly) Core() *index.Core { return r.core }

// CheckSchema returns an error if the schema is not that of this program.
func (r *ReadOnly) CheckSchema() error { return schema.Check(r.core.Reader) }

// Beside reports whether a weft has the directory open for writing.
func (r *ReadOnly) Beside() bool { return r.beside }

// StoredBodies returns how bodies were stored last, and the log row up to which they are out of date.
func (r *ReadOnly) StoredBodies(ctx context.Context) (mode Bodies, since uint64, err error) {
	return bodiesKept(ctx, r.Reader())
}

// LoadNames adds the names that the segments lack to a snapshot.
func (r *ReadOnly) LoadNames(ctx context.Context, v *index.Snapshot) error {
	return r.state.LoadNames(ctx, r.Reader(), v)
}

// Replay returns a snapshot with the log after its segments, as a start replays it. weft.db is pinned.
func (r *ReadOnly) Replay(ctx context.Context, v *index.Snapshot) (next *index.Snapshot, err error) {
	return r.state.Replay(ctx, r.Reader(), v)
}

// Status returns an account's status, after Replay or Load.
func (r *ReadOnly) Status(actor uint64) Status { return r.state.StatusOf(actor) }

// Shown reports whether the run by target has the links of a record, after Replay or Load.
func (r *ReadOnly) Shown(actor uint64, key []byte) bool { return r.state.Shown(actor, key) }

// Purged reports whether an account is deleted and its record with a key is removed, after Replay or Load: a job that
// purges the account may not have reached the record.
func (r *ReadOnly) Purged(actor uint64, key []byte) bool {
	return r.state.Purged(actor, key)
}

// Close closes the files.
func (r *ReadOnly) Close() error {
	var errs []error
	r.Unpin()
	if v := r.core.Snapshot(); v != nil {
		r.core.ReleaseFiles(v.Files)
	}
	if r.core.Reader != nil {
		errs = append(errs, r.core.Reader.Close())
	}
	errs = append(errs, r.lock.Release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("db: close: %w", err)
	}
	return nil
}
