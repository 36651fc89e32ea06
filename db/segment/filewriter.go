package segment

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"weft.dev/weft/db/disk"
)

// uri returns the driver's name of a file, with pragmas and parameters.
func uri(path, parameters string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return "file://" + (&url.URL{Path: filepath.ToSlash(abs)}).EscapedPath() + "?" + parameters, nil
}

// openReadOnly opens a complete file with SQLite. It is immutable, so that SQLite takes no locks and looks for no
// journal. No mmap: a disk error would kill the process.
func openReadOnly(path string) (*sql.DB, error) {
	name, err := uri(path, "mode=ro&immutable=1&_pragma=cache_size(-64)&_pragma=mmap_size(0)&_pragma=query_only(1)"+
		"&_pragma=cell_size_check(1)&_pragma=trusted_schema(0)")
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", name)
}

// fileWriter writes the tables of a new file in one transaction.
type fileWriter struct {
	db      *sql.DB
	tx      *sql.Tx
	inserts [tableFilters + 1]*sql.Stmt
	next    [tableFilters + 1]int64 // number of the next row
	set     *sql.Stmt
	buf     []byte // of the row being written

	file      *os.File // the same file, for writeback
	writeback disk.Writeback
}

// createFile creates the file. It uses no journal and no sync, because an incomplete file is never read and Write syncs
// the complete one. SQLite keeps up to 1 MiB of dirty pages in memory.
func createFile(path string, o Options) (*fileWriter, error) {
	name, err := uri(path, "_pragma=locking_mode(EXCLUSIVE)")
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	w := &fileWriter{db: db, next: [...]int64{0, 1, 1, 1}}
	// page_size must come first: the first page fixes it.
	_, err = db.Exec(fmt.Sprintf("PRAGMA page_size = %d; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"+
		"PRAGMA cache_size = -1024; PRAGMA application_id = %d; PRAGMA user_version = %d",
		o.pageSize, applicationID, o.format))
	if err == nil {
		w.file, err = os.Open(path)
	}
	if err == nil {
		w.writeback = disk.Writeback{File: w.file, Write: o.writeDirty}
		err = w.begin()
	}
	if err != nil {
		w.abort()
		return nil, err
	}
	return w, nil
}

func (w *fileWriter) begin() (err error) {
	w.tx, err = w.db.Begin()
	if err != nil {
		return err
	}
	if _, err := w.tx.Exec(schema); err != nil {
		return err
	}
	for _, t := range []table{tableBlocks, tableNodes, tableFilters} {
		w.inserts[t], err = w.tx.Prepare("INSERT INTO " + t.String() + " (id, data) VALUES (?, ?)")
		if err != nil {
			return err
		}
	}
	w.set, err = w.tx.Prepare("INSERT INTO sets (run, prefix, data) VALUES (?, ?, ?)")
	return err
}

// row returns a new row with space for its checksum, to which the caller appends the content.
func (w *fileWriter) row() []byte { return append(w.buf[:0], make([]byte, sumSize)...) }

// add writes a row that row returned, and returns its number.
func (w *fileWriter) add(t table, row []byte) (id int64, err error) {
	w.buf = row
	return w.insert(t, row)
}

// insert writes a row that begins with space for its checksum, and returns its number.
func (w *fileWriter) insert(t table, row []byte) (id int64, err error) {
	id = w.next[t]
	binary.BigEndian.PutUint64(row, rowSum(t, id, row[sumSize:]))
	if _, err := w.inserts[t].Exec(id, row); err != nil {
		return 0, fmt.Errorf("write row %d of %s: %w", id, t, err)
	}
	if err := w.writeback.Wrote(len(row)); err != nil {
		return 0, fmt.Errorf("write row %d of %s: %w", id, t, err)
	}
	w.next[t]++
	return id, nil
}

// addSet writes a set in a row that row returned.
func (w *fileWriter) addSet(run int, prefix, row []byte) error {
	w.buf = row
	return w.insertSet(run, prefix, row)
}

// insertSet writes a set in a row that begins with space for its checksum.
func (w *fileWriter) insertSet(run int, prefix, row []byte) error {
	binary.BigEndian.PutUint64(row, setSum(run, prefix, row[sumSize:]))
	if _, err := w.set.Exec(run, prefix, row); err != nil {
		return fmt.Errorf("write set of %x: %w", prefix, err)
	}
	if err := w.writeback.Wrote(len(row)); err != nil {
		return fmt.Errorf("write set of %x: %w", prefix, err)
	}
	return nil
}

func (w *fileWriter) addHead(h head) error {
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("write head: %w", err)
	}
	sum := binary.BigEndian.AppendUint64(nil, xxhash.Sum64(data))
	if _, err := w.tx.Exec("INSERT INTO head (id, data, sum) VALUES (1, ?, ?)", string(data), sum); err != nil {
		return fmt.Errorf("write head: %w", err)
	}
	return nil
}

func (w *fileWriter) commit() error {
	if err := w.tx.Commit(); err != nil {
		w.abort()
		return err
	}
	return errors.Join(w.db.Close(), w.file.Close())
}

func (w *fileWriter) abort() {
	if w.tx != nil {
		_ = w.tx.Rollback()
	}
	_ = w.db.Close()
	if w.file != nil {
		_ = w.file.Close()
	}
}
