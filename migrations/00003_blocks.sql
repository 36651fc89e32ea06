-- +goose Up

-- The content of records, with --bodies. A block is stored once for its CID, as far as docs/storage.md says; refs counts
-- the rows of bodies that use it, which triggers see to, and one that nobody uses goes in the same transaction.
-- digest: the SHA-256 in the record's CID; 01 71 12 20 before it make the CID, for all CIDs of records are of that kind.
-- body: zstd, with a dictionary (db/body). There is no index by digest on purpose: a random B-tree would cost a page of
-- WAL for each record.
CREATE TABLE blocks (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  refs   INTEGER NOT NULL DEFAULT 0 CHECK (refs >= 0),
  body   BLOB NOT NULL
) STRICT;

-- Which block a log row brought. A table of its own, and not a column of records, so that the row may go and the body stay.
CREATE TABLE bodies (
  seq   INTEGER PRIMARY KEY,
  block INTEGER NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER bodies_added AFTER INSERT ON bodies BEGIN
  UPDATE blocks SET refs = refs + 1 WHERE id = new.block;
  SELECT RAISE(ABORT, 'a body without its block') WHERE changes() = 0;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bodies_removed AFTER DELETE ON bodies BEGIN
  UPDATE blocks SET refs = refs - 1 WHERE id = old.block;
  DELETE FROM blocks WHERE id = old.block AND refs = 0;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bodies_fixed BEFORE UPDATE ON bodies BEGIN
  SELECT RAISE(ABORT, 'a body is never changed');
END;
-- +goose StatementEnd

-- Which body a log row put out of date: that of the log row body, which goes when the row does; 0 for a row that changed
-- only the body of a record that had none. A table of its own, and not a column of records, so that without --bodies the
-- log is as short as it was.
CREATE TABLE replaced (
  seq  INTEGER PRIMARY KEY,
  body INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE replaced;
DROP TABLE bodies;
DROP TABLE blocks;
