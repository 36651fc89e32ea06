package schema

import (
	"fmt"
	"io/fs"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"weft.dev/weft/migrations"
)

// Check refuses a schema that is not this program's. An older one is left for serve to bring up to date.
func Check(reader *sqlx.DB) error {
	var have int64
	if err := reader.Get(&have,
		"SELECT ifnull(max(version_id), 0) FROM goose_db_version WHERE is_applied"); err != nil {
		return fmt.Errorf("read schema version (is the file damaged? restore it from its replica with weft restore "+
			"--force): %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, reader.DB, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	sources := p.ListSources()
	switch want := sources[len(sources)-1].Version; {
	case have > want:
		return fmt.Errorf("the schema is version %d and this weft knows up to %d: use the weft version that wrote "+
			"it, or a "+
			"newer one", have, want)
	case have < want:
		return fmt.Errorf("the schema is version %d and this weft's is %d: weft serve migrates it at the next "+
			"start; until "+
			"then, use the weft version that wrote it", have, want)
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
			return fmt.Errorf("the schema was made by another migration:%s than this weft's: use the weft that wrote it",
				source.Path)
		}
	}
	return nil
}
