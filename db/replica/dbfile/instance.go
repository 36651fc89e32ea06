package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/sqliteuri"
)

// InstanceOf returns the instance of the index in a weft.db or in a file of WriteInstance. No process may have the file
// open for writing.
func InstanceOf(ctx context.Context, path string) (instance string, err error) {
	err = queryFile(ctx, path, "SELECT value FROM meta WHERE key = 'instance'", &instance)
	return instance, err
}

// LastSeqOf returns the newest log row that a weft.db ever had, pruned rows included; 0: none. No process may have the
// file open for writing.
func LastSeqOf(ctx context.Context, path string) (seq uint64, err error) {
	err = queryFile(ctx, path, "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'records'), 0)", &seq)
	return seq, err
}

// queryFile reads one value of a file, its WAL included.
func queryFile(ctx context.Context, path, query string, into any) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("db: %w", err)
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
		return fmt.Errorf("db: open %s: %w", path, err)
	}
	defer func() { _ = reader.Close() }()
	if err := reader.QueryRowContext(ctx, query).Scan(into); err != nil {
		return disk.WrapFull(filepath.Dir(path), fmt.Errorf("db: look into %s (is it a weft.db?): %w", path, err), disk.Space)
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
		return fmt.Errorf("db: make %s: %w", path, err)
	}
	defer func() { _ = w.Close() }()
	w.SetMaxOpenConns(1)
	for _, q := range []struct {
		text string
		args []any
	}{{"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID", nil},
		{"INSERT INTO meta (key, value) VALUES ('instance', ?)", []any{instance}}} {
		if _, err := w.Exec(q.text, q.args...); err != nil {
			return fmt.Errorf("db: make %s: %w", path, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("db: make %s: %w", path, err)
	}
	return nil
}

// persistWAL keeps the WAL when the last connection is closed: without a WAL, a replicator copies the whole database
// again.
func persistWAL(ctx context.Context, w *sql.DB) error {
	conn, err := w.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(driver any) error {
		control, ok := driver.(sqlite.FileControl)
		if !ok {
			return errors.New("the driver has no file controls")
		}
		_, err := control.FileControlPersistWAL("main", 1)
		return err
	})
}
