-- +goose Up

-- Running checksums: of a row, xxhash64 of its columns; of the log or the names up to a row, the sum of those of all rows
-- up to it, modulo 2^64 (docs/storage.md, Checksums). The sums as of the last commit are rows of sqlite_sequence, named
-- log_checksum, names_checksum and status_checksum: AUTOINCREMENT writes its page with each commit that appends to the log, so that they
-- cost no page of WAL, where a row of any other table costs one for each commit. They come with the first start of a weft
-- that knows them. Null: not known, for an older weft wrote the row.
ALTER TABLE segments ADD COLUMN log_checksum INTEGER;   -- of the log up to to_seq
ALTER TABLE segments ADD COLUMN names_checksum INTEGER; -- of the names up to actors, collections and sources
ALTER TABLE marks ADD COLUMN log_checksum INTEGER;      -- of the log up to seq

-- Sources without an index of their names: it kept each path a second time, and one of a kilobyte in a page of its own.
-- The index finds their ids, as it finds those of accounts, and the one writer keeps them unique.
CREATE TABLE sources_again (
  id         INTEGER PRIMARY KEY,
  collection INTEGER NOT NULL REFERENCES collections (id),
  path       TEXT NOT NULL
) STRICT;
INSERT INTO sources_again (id, collection, path) SELECT id, collection, path FROM sources ORDER BY id;
DROP TABLE sources;
ALTER TABLE sources_again RENAME TO sources;

-- +goose Down
CREATE TABLE sources_again (
  id         INTEGER PRIMARY KEY,
  collection INTEGER NOT NULL REFERENCES collections (id),
  path       TEXT NOT NULL,
  UNIQUE (collection, path)
) STRICT;
INSERT INTO sources_again (id, collection, path) SELECT id, collection, path FROM sources ORDER BY id;
DROP TABLE sources;
ALTER TABLE sources_again RENAME TO sources;
DELETE FROM sqlite_sequence WHERE name IN ('log_checksum', 'names_checksum', 'status_checksum');
ALTER TABLE marks DROP COLUMN log_checksum;
ALTER TABLE segments DROP COLUMN names_checksum;
ALTER TABLE segments DROP COLUMN log_checksum;
