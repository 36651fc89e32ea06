package db_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/migrations"
)

// TestOlderSchemas: an index of each older schema is brought up to this one, and has what it had.
func TestOlderSchemas(t *testing.T) {
	t.Parallel()
	for _, version := range schemaVersions(t) {
		t.Run(fmt.Sprintf("schema %d", version), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			makeSchema(t, dir, version)
			for range 2 {
				s := openWith(t, db.Config{Dir: dir})
				source := db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}
				if n, err := s.CountLinks(t.Context(), "https://example.com/", source); n != 1 || err != nil {
					t.Errorf("%d links, %v", n, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				checkAll(t, dir)
			}
		})
	}
}

// schemaVersions are the numbers of all schemas that there were.
func schemaVersions(t *testing.T) (versions []int64) {
	t.Helper()
	base, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	p, err := goose.NewProvider(goose.DialectSQLite3, base, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range p.ListSources() {
		versions = append(versions, source.Version)
	}
	return versions
}

// makeSchema makes an index of a schema, with one link.
func makeSchema(t *testing.T, dir string, version int64) {
	t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	base.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, base, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	links := "links"
	if version >= 11 {
		links = "more_links"
	}
	var errs []error
	for _, statement := range []string{
		"INSERT INTO meta (key, value) VALUES ('instance', 'OLDER'), ('created', '2026-01-01T00:00:00Z')",
		"INSERT INTO upstream (host, kind, seq, high_seq, time_us) VALUES ('old.example', 'v2', 1, 1, 1770000000000000)",
		"INSERT INTO actors (id, did) VALUES (1, 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa')",
		"INSERT INTO collections (id, nsid) VALUES (1, 'app.bsky.feed.like')",
		"INSERT INTO sources (id, collection, path) VALUES (1, 1, 'subject.uri')",
	} {
		_, err := base.Exec(statement)
		errs = append(errs, err)
	}
	if version < 13 {
		_, err := base.Exec(`INSERT INTO records (seq, time_us, op, actor, collection, rkey, rev)
			VALUES (1, 1770000000000000, 1, 1, 1, 1812480000000000000, 1812480000000000000)`)
		errs = append(errs, err)
		_, err = base.Exec("INSERT INTO " + links + ` (id, op, source, target)
			VALUES (4096, 1, 1, CAST(x'02' || 'https://example.com/' || x'00' AS BLOB))`)
		errs = append(errs, err)
	} else {
		rkey := codec.AppendTIDRkey(nil, 1812480000000000000)
		rows := logrow.Rows{
			Log: []logrow.Row{{Seq: 1, TimeUS: 1770000000000000, Op: db.OpCreate, Actor: 1, Collection: 1, Rkey: rkey,
				Rev: 1812480000000000000}},
			Links: []logrow.LinkRow{{ID: 4096, Op: codec.Linked, Source: 1, Target: []byte("\x02https://example.com/\x00"),
				Rank: -1}},
		}
		_, err := new(logrow.BlockWriter).Write(rows, true, func(args ...any) error {
			_, err := base.Exec(logrow.InsertBlock, args...)
			return err
		})
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
