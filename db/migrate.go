package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"weft.dev/weft/migrations"
)

// migrate brings the schema to this program's, and refuses a schema that is newer or was made by other files.
func migrate(db *sql.DB) error {
	ctx := context.Background()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version (is the file damaged? weft restore --force brings it back from its replica): %w", err)
	}
	sources := p.ListSources()
	if want := sources[len(sources)-1].Version; have > want {
		return fmt.Errorf("the schema is version %d and this weft knows up to %d: run the weft that wrote it, or a newer one", have, want)
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
