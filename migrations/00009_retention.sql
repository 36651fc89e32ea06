-- +goose Up

-- The rules of --keep that the index has had, and the log's clock when they moved the horizons last, in microseconds since
-- 1970 (docs/storage.md). No row is deleted: a horizon never goes back.
CREATE TABLE retention (
  rules    TEXT PRIMARY KEY,
  clock_us INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE retention;
