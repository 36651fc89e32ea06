// Package pagecopy keeps a copy of another machine's weft.db current, page by page: a follower of a replica reads it.
package pagecopy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/sqliteuri"
)

// Copy is a copy of another machine's weft.db that is kept current page by page, for a db.Follower to read.
//
// The pages are written through SQLite itself, by its table sqlite_dbpage, in WAL mode and in one transaction for each
// change. So a reader sees either the state before a change or the state after it, regardless of the age of its
// connection. An interrupted change leaves nothing, and no reader waits. SQLite's own sqlite3_rsync writes in the same
// way. docs/design.md describes the errors of readers when pages are written into the file without SQLite.
type Copy struct {
	dir  string
	lock *dirlock.Lock
	db   *sql.DB
}

// Change is a transaction of the other machine's database.
type Change struct {
	Position uint64 // of the database after the change, above 0
	PageSize int    // bytes
	Pages    uint32 // of the database after the change
}

// journalBytes is the size to which the WAL is truncated after a large change, in bytes: the first change is the
// whole database.
const journalBytes = 64 << 20

// Open opens or creates a directory for a copy, and locks it for this process. It refuses a directory with an index
// of its own.
func Open(dir string) (*Copy, error) {
	if err := os.MkdirAll(filepath.Join(dir, "segments"), 0o755); err != nil {
		return nil, fmt.Errorf("db: make data directory: %w", err)
	}
	lock, err := dirlock.Exclusive(dir)
	if err != nil {
		return nil, err
	}
	c := &Copy{dir: dir, lock: lock}
	if err := c.open(); err != nil {
		err = fmt.Errorf("db: open the copy in %s: %w", dir, err)
		return nil, errors.Join(disk.WrapFull(dir, err, disk.Space), c.Close())
	}
	return c, nil
}

func (c *Copy) open() error {
	uri, err := sqliteuri.File(filepath.Join(c.dir, "weft.db"))
	if err != nil {
		return err
	}
	// NORMAL: a power cut may undo changes together with the position, and the follower fetches them again.
	c.db, err = sql.Open("sqlite",
		fmt.Sprintf("%s?_txlock=immediate&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(60000)"+
			"&_pragma=journal_size_limit(%d)", uri, journalBytes))
	if err != nil {
		return err
	}
	c.db.SetMaxOpenConns(1)
	at, err := c.Position()
	if err != nil {
		return err
	}
	var tables int
	if err := c.db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if at == 0 && tables > 0 {
		return errors.New("the directory holds another index: use an empty directory for the follower (--data)")
	}
	return nil
}

// Position returns the position of the last change; 0: the copy is empty. It is stored in two fields of the database's
// header that weft doesn't use, so it always matches the pages.
func (c *Copy) Position() (uint64, error) { return Position(c.db) }

// Position returns the position of the last change of a database, which is 0 unless it is a copy.
func Position(db *sql.DB) (uint64, error) {
	var low, high int32
	if err := db.QueryRow("SELECT * FROM pragma_user_version, pragma_application_id").Scan(&low, &high); err != nil {
		return 0, fmt.Errorf("read the position: %w", err)
	}
	return uint64(uint32(high))<<32 | uint64(uint32(low)), nil
}

// Tx is a change under way.
type Tx struct {
	change Change
	tx     *sql.Tx
	insert *sql.Stmt
	had    uint32 // pages before
	// page 1 is written last: the schema changes with it, and SQLite then reads the tables that it names
	first []byte
}

// Begin begins a change. Only one change may be under way. It must end with Commit or Rollback.
func (c *Copy) Begin(ctx context.Context, change Change) (*Tx, error) {
	fail := func(err error) (*Tx, error) {
		return nil, fmt.Errorf("db: change %d of the copy in %s: %w", change.Position, c.dir, err)
	}
	size, pages, err := c.prepare(change.PageSize)
	if err != nil {
		return fail(err)
	}
	if size != change.PageSize {
		return fail(fmt.Errorf("the replica has pages of %d bytes, and the copy of %d: start the follower with "+
			"an empty "+
			"directory", change.PageSize, size))
	}
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return fail(err)
	}
	insert, err := tx.Prepare("INSERT INTO sqlite_dbpage (pgno, data) VALUES (?, ?)")
	if err != nil {
		_ = tx.Rollback()
		return fail(err)
	}
	return &Tx{change: change, tx: tx, insert: insert, had: pages}, nil
}

// Put writes the page with a number, which begins at 1. It doesn't keep a reference to data.
func (t *Tx) Put(number uint32, data []byte) error {
	if number == 1 {
		t.first = append(t.first[:0], data...)
		return nil
	}
	if _, err := t.insert.Exec(int64(number), data); err != nil {
		return fmt.Errorf("db: write page %d: %w", number, err)
	}
	return nil
}

// Commit commits the change: readers see it afterwards.
func (t *Tx) Commit() error {
	if err := t.commit(); err != nil {
		t.Rollback()
		return fmt.Errorf("db: commit change %d of a copy: %w", t.change.Position, err)
	}
	return nil
}

func (t *Tx) commit() error {
	if t.change.Pages < t.had {
		if _, err := t.insert.Exec(int64(t.change.Pages)+1, nil); err != nil {
			return fmt.Errorf("delete the pages after page %d: %w", t.change.Pages, err)
		}
	}
	if t.first != nil {
		if _, err := t.insert.Exec(1, t.first); err != nil {
			return fmt.Errorf("page 1: %w", err)
		}
	}
	for pragma, value := range map[string]int32{"user_version": int32(t.change.Position),
		"application_id": int32(t.change.Position >> 32)} {
		if _, err := t.tx.Exec(fmt.Sprintf("PRAGMA %s = %d", pragma, value)); err != nil {
			return err
		}
	}
	if err := t.insert.Close(); err != nil {
		return err
	}
	return t.tx.Commit()
}

// Rollback ends a change and discards it.
func (t *Tx) Rollback() {
	_ = t.insert.Close()
	_ = t.tx.Rollback() // fails only if the transaction or the connection has ended already
}

// prepare returns the size of a page and the number of pages. A new file gets the requested page size.
func (c *Copy) prepare(pageSize int) (size int, pages uint32, err error) {
	if err := c.db.QueryRow("SELECT * FROM pragma_page_size, pragma_page_count").Scan(&size, &pages); err != nil {
		return 0, 0, err
	}
	var tables int
	if err := c.db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil || tables > 0 {
		return size, pages, err
	}
	for _, pragma := range []string{"journal_mode = DELETE", fmt.Sprintf("page_size = %d", pageSize)} {
		if _, err := c.db.Exec("PRAGMA " + pragma); err != nil {
			return 0, 0, err
		}
	}
	if pages > 0 && size != pageSize { // left by a first change that was interrupted
		if _, err := c.db.Exec("VACUUM"); err != nil {
			return 0, 0, err
		}
	}
	var mode string
	if err := c.db.QueryRow("PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return 0, 0, fmt.Errorf("set the journal mode WAL: %w", err)
	}
	if mode != "wal" {
		return 0, 0, fmt.Errorf("SQLite keeps the journal mode %q instead of WAL", mode)
	}
	err = c.db.QueryRow("SELECT * FROM pragma_page_size, pragma_page_count").Scan(&size, &pages)
	return size, pages, err
}

// Close closes the copy and unlocks its directory.
func (c *Copy) Close() error {
	var errs []error
	if c.db != nil {
		errs = append(errs, c.db.Close())
	}
	errs = append(errs, c.lock.Release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("db: close the copy: %w", err)
	}
	return nil
}
