// Package schema brings the schema of a weft.db to this program's, by the files of package migrations, and refuses a
// schema that is newer or was made by other files.
package schema

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/pressly/goose/v3"

	"weft.dev/weft/db/sqliteuri"
	"weft.dev/weft/migrations"
)

// RefuseNewer refuses a weft.db of a schema that is newer than this program's, before a connection that writes opens
// it: the last one to be closed would move the WAL into the database, and a replicator then begins anew. A file that
// can't be read is left to Migrate, which names the fault.
func RefuseNewer(uri, path string) error {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	name := sqliteuri.ReadOnly(uri)
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		name += "&immutable=1" // else SQLite would make the two files of a WAL
	}
	reader, err := sql.Open("sqlite", name)
	if err != nil {
		return nil
	}
	defer func() { _ = reader.Close() }()
	var have int64
	if err := reader.QueryRow("SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&have); err != nil {
		return nil
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, reader, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	sources := p.ListSources()
	return newerSchema(have, sources[len(sources)-1].Version)
}

// newerSchema reports whether a schema is newer than this program's; nil: it isn't.
func newerSchema(have, want int64) error {
	if have <= want {
		return nil
	}
	return fmt.Errorf("the schema is version %d and this weft knows up to %d: run the weft version that wrote it, or a "+
		"newer one", have, want)
}

// Migrate brings the schema to this program's, and refuses a schema that is newer or was made by other files.
//
// It ends early if stop is cancelled while it packs a long log.
func Migrate(stop context.Context, db *sql.DB, logger *slog.Logger) error {
	ctx := context.Background() // a cancel would close the connection
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version (is the file damaged? restore it from its replica with weft restore "+
			"--force): %w", err)
	}
	sources := p.ListSources()
	if err := newerSchema(have, sources[len(sources)-1].Version); err != nil {
		return err
	}
	if have <= rowsSchema {
		if _, err := p.UpTo(ctx, rowsSchema); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		if err := packLog(stop, db, logger); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, source := range sources {
		text, err := fs.ReadFile(migrations.FS, source.Path)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		if err := checkMigration(db, "migration:"+source.Path, migrationSum(text)); err != nil {
			return err
		}
	}
	return nil
}

// migrationSum is the checksum of a migration's text.
func migrationSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// checkMigration remembers a migration's checksum, and holds it against the one remembered.
func checkMigration(db *sql.DB, key, sum string) error {
	var was string
	err := db.QueryRow("SELECT value FROM meta WHERE key = ?", key).Scan(&was)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = db.Exec("INSERT INTO meta (key, value) VALUES (?, ?)", key, sum)
		return err
	case err != nil:
		return err
	case was != sum:
		return fmt.Errorf("the schema was made by another %s than this weft's: run the weft that wrote it", key)
	}
	return nil
}
