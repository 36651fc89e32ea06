package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"weft.dev/weft/db/index"
)

// InstanceOf is the instance of the index in the file of a database, a weft.db or what WriteInstance wrote, that nobody
// has open for writing.
func InstanceOf(ctx context.Context, path string) (instance string, err error) {
	err = queryFile(ctx, path, "SELECT value FROM meta WHERE key = 'instance'", &instance)
	return instance, err
}

// LastSeqOf is the newest log row that there ever was in a weft.db that nobody has open for writing; 0: none.
func LastSeqOf(ctx context.Context, path string) (seq uint64, err error) {
	err = queryFile(ctx, path, "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'records'), 0)", &seq)
	return seq, err
}

// queryFile reads one value of a file, its WAL included.
func queryFile(ctx context.Context, path, query string, into any) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("db: %w", err)
	}
	uri, err := fileURI(path)
	if err != nil {
		return err
	}
	name := index.ReadURI(uri)
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		name += "&immutable=1" // else SQLite would make the two files of a WAL
	}
	reader, err := sql.Open("sqlite", name)
	if err != nil {
		return fmt.Errorf("db: open %s: %w", path, err)
	}
	defer func() { _ = reader.Close() }()
	if err := reader.QueryRowContext(ctx, query).Scan(into); err != nil {
		return diskError(filepath.Dir(path), fmt.Errorf("db: look into %s (is it a weft.db?): %w", path, err), diskSpace)
	}
	return nil
}

// WriteInstance makes a small database that names an index, as weft.db does, and holds nothing else: it says whose a
// replica is without the replica's being restored.
func WriteInstance(path, instance string) error {
	uri, err := fileURI(path)
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

// persistWAL keeps the WAL when the last connection is closed: a replicator that finds none copies the whole database
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
