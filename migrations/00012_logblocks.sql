-- +goose Up

-- The log in blocks: a row of this table has up to 1,024 log rows with consecutive numbers, with their links
-- (docs/storage.md, log). The tables records and more_links had a row for each log row and for most links:
-- twice the bytes, of the file and of its WAL. Go code packs their rows into blocks between this file and the next one.
CREATE TABLE log (
  last    INTEGER PRIMARY KEY AUTOINCREMENT, -- seq of the newest log row
  first   INTEGER NOT NULL,                  -- seq of the oldest log row
  time_us INTEGER NOT NULL,                  -- of the newest log row
  links   INTEGER NOT NULL,                  -- number of links
  rows    BLOB NOT NULL
) STRICT;
DROP VIEW links;

-- +goose Down
-- SQL can't unpack blocks: an older weft needs a replica from before.
DROP TABLE log;
CREATE VIEW links AS
SELECT seq, seq << 12 AS id, op <> 3 AS op, source, target, NULL AS rank FROM records WHERE source IS NOT NULL
UNION ALL
SELECT id >> 12 AS seq, id, op, source, target, rank FROM more_links;
