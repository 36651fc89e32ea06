// Package dbfile reads and writes what a replicator needs of a weft.db that no process has open for writing: the index
// that it belongs to, its newest log row, and the start of its WAL.
package dbfile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/sqliteuri"
)

// Instance returns the instance of the index in a weft.db or in a file of WriteInstance. No process may have the file
// open for writing.
func Instance(ctx context.Context, path string) (instance string, err error) {
	err = queryFile(ctx, path, "SELECT value FROM meta WHERE key = 'instance'", &instance)
	return instance, err
}

// LastSeq returns the newest log row that a weft.db of any schema ever had, pruned rows included; 0: none. No process
// may have the file open for writing.
func LastSeq(ctx context.Context, path string) (seq uint64, err error) {
	err = queryFile(ctx, path, "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name IN ('log', 'records')", &seq)
	return seq, err
}

// queryFile reads one value of a file, its WAL included.
func queryFile(ctx context.Context, path, query string, into any) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	uri, err := sqliteuri.File(path)
	if err != nil {
		return err
	}
	name := sqliteuri.ReadOnly(uri)
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		name += "&immutable=1" // otherwise SQLite would create the two files of a WAL
	}
	reader, err := sql.Open("sqlite", name)
	if err != nil {
		return fmt.Errorf("replica: open %s: %w", path, err)
	}
	defer func() { _ = reader.Close() }()
	if err := reader.QueryRowContext(ctx, query).Scan(into); err != nil {
		err = fmt.Errorf("replica: look into %s (is it a weft.db?): %w", path, err)
		return disk.WrapFull(filepath.Dir(path), err, disk.Space)
	}
	return nil
}

// WriteInstance creates a small database that holds only the name of an index, as weft.db does. It shows to which index
// a replica belongs without a restore.
func WriteInstance(path, instance string) error {
	uri, err := sqliteuri.File(path)
	if err != nil {
		return err
	}
	w, err := sql.Open("sqlite", uri)
	if err != nil {
		return fmt.Errorf("replica: make %s: %w", path, err)
	}
	defer func() { _ = w.Close() }()
	w.SetMaxOpenConns(1)
	for _, q := range []struct {
		text string
		args []any
	}{{"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID", nil},
		{"INSERT INTO meta (key, value) VALUES ('instance', ?)", []any{instance}}} {
		if _, err := w.Exec(q.text, q.args...); err != nil {
			return fmt.Errorf("replica: make %s: %w", path, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("replica: make %s: %w", path, err)
	}
	return nil
}
