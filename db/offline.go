package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"weft.dev/weft/migrations"
)

// ErrNoIndex is what Check and Inspect answer for a directory without an index.
var ErrNoIndex = errors.New("there is no weft.db in it")

// openOffline takes a data directory that no weft has open in order to look at it, and changes nothing in it: there is
// no connection that writes and no worker, the schema is taken as it is or refused, and no file is put away. The caller
// loads what it needs, and ends with closeFiles.
func openOffline(dir string) (*Store, error) {
	path := filepath.Join(dir, "weft.db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("db: %s: %w", dir, ErrNoIndex)
	} else if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	s := &Store{}
	s.defaults(Config{Dir: dir})
	s.state = newState(&s.cfg)
	var err error
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := s.openReader(path); err != nil {
		_ = s.closeFiles()
		return nil, diskError(dir, fmt.Errorf("db: %s: %w", path, err))
	}
	return s, nil
}

// openReader opens weft.db for reading only. Where no WAL lies beside it, all is in the file, and nobody can write: a
// replicator that is at work holds the WAL open. SQLite is told so, or it would make the two files of a WAL.
func (s *Store) openReader(path string) error {
	uri, err := fileURI(path)
	if err != nil {
		return err
	}
	immutable := ""
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		immutable = "&immutable=1"
	}
	if err := s.connect(uri, immutable); err != nil {
		return err
	}
	if err := checkSchema(s.reader); err != nil {
		return err
	}
	if err := s.reader.Get(&s.instance, "SELECT value FROM meta WHERE key = 'instance'"); err != nil {
		return fmt.Errorf("read the name of the index: %w", err)
	}
	return nil
}

// checkSchema refuses a schema that is not this program's. An older one is left for serve to bring up to date.
func checkSchema(reader *sqlx.DB) error {
	var have int64
	if err := reader.Get(&have, "SELECT ifnull(max(version_id), 0) FROM goose_db_version WHERE is_applied"); err != nil {
		return fmt.Errorf("read schema version (is the file damaged? restore it from its replica with weft restore --force): %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, reader.DB, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	sources := p.ListSources()
	switch want := sources[len(sources)-1].Version; {
	case have > want:
		return fmt.Errorf("the schema is version %d and this weft knows up to %d: use the weft version that wrote it, or a newer one", have, want)
	case have < want:
		return fmt.Errorf("the schema is version %d and this weft's is %d: weft serve migrates it at the next start; until then, use the weft version that wrote it", have, want)
	}
	for _, source := range sources {
		text, err := fs.ReadFile(migrations.FS, source.Path)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		var was string
		if err := reader.Get(&was, "SELECT value FROM meta WHERE key = ?", "migration:"+source.Path); err != nil {
			return fmt.Errorf("read the checksum of migration %s: %w", source.Path, err)
		}
		if was != migrationSum(text) {
			return fmt.Errorf("the schema was made by another migration:%s than this weft's: use the weft that wrote it", source.Path)
		}
	}
	return nil
}

// readManifestRows reads the rows of the segments, oldest first.
func readManifestRows(ctx context.Context, q queryer) ([]manifestRow, error) {
	var rows []manifestRow
	if err := q.SelectContext(ctx, &rows, "SELECT * FROM segments ORDER BY from_seq, id"); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return rows, nil
}
