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
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/schema"
)

// ErrNoIndex is the error of a directory without a weft.db.
var ErrNoIndex = errors.New("there is no weft.db in it")

// ReadOnly is a data directory that is open for reading. It has no connection that writes and no worker, takes the
// schema as it is or refuses it, and changes no file. Its caller loads the snapshot that it needs.
type ReadOnly struct {
	Index
	state  *apply.State
	lock   *os.File // nil: a weft may write beside it
	beside bool     // a weft has the directory open
	noWAL  bool     // weft.db had no WAL
	tx     *sqlx.Tx // nil before Pin
}

// OpenReadOnly opens a data directory for reading, also beside a weft that writes: each query or transaction then sees
// one of its commits, after Pin all the same one, and segment files never change. Where no weft writes, it keeps others
// from starting to. With exclusive it refuses a directory that a weft has open.
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
		r.lock, err = lockDir(dir)
		if err != nil {
			return nil, err
		}
	}
	if !exclusive {
		r.lock, r.beside = lockForReading(dir)
	}
	if err := r.open(path); err != nil {
		_ = r.Close()
		return nil, diskError(dir, fmt.Errorf("db: %s: %w", path, err), diskSpace)
	}
	return r, nil
}

// open opens weft.db. Without a WAL, the file has everything and nothing writes: a replicator holds the WAL open.
// SQLite is told so, or it would create the two files of a WAL.
func (r *ReadOnly) open(path string) error {
	uri, err := fileURI(path)
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

// OpenFile opens a weft.db alone, whatever its schema. No process has it open, and it has no WAL.
func OpenFile(path string) (*ReadOnly, error) {
	uri, err := fileURI(path)
	if err != nil {
		return nil, err
	}
	return openDatabase(path, uri+"?mode=ro&immutable=1")
}

// openDatabase opens a weft.db alone, by its URI, whatever its schema.
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

// maxUnsealed is how many log rows Load replays in memory: several times what serve leaves without a segment when it
// stops. Only a rebuild that was interrupted leaves more.
const maxUnsealed = 4_000_000

// Reader reads weft.db: after Pin as of one moment.
func (r *ReadOnly) Reader() logrow.Queryer {
	if r.tx != nil {
		return r.tx
	}
	return r.core.Reader
}

// Pin begins the transaction that Reader reads in until Unpin or Close: weft.db as of one moment. open opens the files of
// its manifest, and reports whether one is missing. Pin begins again, and calls open again, where a compaction beside it
// has replaced files since the transaction began: the manifest is then another one.
func (r *ReadOnly) Pin(ctx context.Context, open func(rows []index.ManifestRow) (missing bool, err error)) (err error) {
	if r.beside && r.noWAL { // what it writes next would not be seen, or half
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

// Unpin ends the transaction of Pin: while it lasts, a weft beside this one cannot empty its WAL.
func (r *ReadOnly) Unpin() {
	if r.tx != nil {
		_ = r.tx.Rollback() // it fails when the transaction has ended already
		r.tx = nil
	}
}

// Load loads the newest snapshot, the segments and the log behind them, and leaves weft.db pinned to its moment. what
// names the command in advice.
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

// Core returns the snapshot, the files and the connection that the directory is read through.
func (r *ReadOnly) Core() *index.Core { return r.core }

// CheckSchema returns an error where the schema is not this program's.
func (r *ReadOnly) CheckSchema() error { return schema.Check(r.core.Reader) }

// Beside reports whether a weft writes the directory meanwhile.
func (r *ReadOnly) Beside() bool { return r.beside }

// StoredBodies returns how bodies were stored last, and the log row up to which they are out of date.
func (r *ReadOnly) StoredBodies(ctx context.Context) (mode Bodies, since uint64, err error) {
	return bodiesKept(ctx, r.Reader())
}

// LoadNames reads the names that the segments of a snapshot lack into it.
func (r *ReadOnly) LoadNames(ctx context.Context, v *index.Snapshot) error {
	return r.state.LoadNames(ctx, r.Reader(), v)
}

// Replay returns a snapshot with the log after its segments, as a start replays it. weft.db is pinned.
func (r *ReadOnly) Replay(ctx context.Context, v *index.Snapshot) (next *index.Snapshot, err error) {
	return r.state.Replay(ctx, r.Reader(), v)
}

// Status returns an account's status, after Replay or Load.
func (r *ReadOnly) Status(actor uint64) Status { return r.state.StatusOf(actor) }

// Shown reports whether the order by target has a record's links, after Replay or Load.
func (r *ReadOnly) Shown(actor uint64, key []byte) bool { return r.state.Shown(actor, key) }

// Purged reports whether an account is deleted and its record with a key is gone with it, after Replay or Load: a job
// that purges the account may not have come to the record.
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
	if r.lock != nil {
		errs = append(errs, unlockDir(r.lock))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("db: close: %w", err)
	}
	return nil
}
