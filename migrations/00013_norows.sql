-- +goose Up

-- All log rows are in the table log.
DROP TABLE more_links;
DROP TABLE records;

-- +goose Down
-- They are empty: SQL can't unpack blocks.
CREATE TABLE records (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  time_us    INTEGER NOT NULL,
  op         INTEGER NOT NULL,
  actor      INTEGER NOT NULL,
  collection INTEGER,
  rkey       ANY,
  rev        INTEGER,
  status     INTEGER,
  source     INTEGER,
  target     BLOB
) STRICT;
CREATE TABLE more_links (
  id     INTEGER PRIMARY KEY,
  op     INTEGER NOT NULL,
  source INTEGER NOT NULL,
  target BLOB NOT NULL,
  rank   INTEGER
) STRICT;
