-- +goose Up

-- The manifest: the segment files that, oldest first, hold the index up to the newest one's to_seq. A row enters in the
-- transaction that takes what it replaces out; the file is complete and on disk before.
CREATE TABLE segments (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  file        TEXT NOT NULL UNIQUE, -- in the directory segments; never used twice
  level       INTEGER NOT NULL,     -- how often its oldest part was merged
  from_seq    INTEGER NOT NULL,     -- log rows covered, both ends in
  to_seq      INTEGER NOT NULL,
  links       INTEGER NOT NULL,     -- links of active accounts: additions less removals
  linking     INTEGER NOT NULL,     -- records with links in the whole index as of to_seq
  actors      INTEGER NOT NULL,     -- the newest id of each kind of name as of to_seq
  collections INTEGER NOT NULL,
  sources     INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  checksum    TEXT NOT NULL,
  created_us  INTEGER NOT NULL
) STRICT;

-- Resyncs that are open: the log rows of the account from since_seq on say what has been seen.
CREATE TABLE resyncs (
  actor     INTEGER PRIMARY KEY,
  rev       INTEGER NOT NULL,
  since_seq INTEGER NOT NULL
) STRICT;

-- Changes of status that were under way when the newest segment was sealed: shown before (was) and after (now), whether
-- the records go too, and the key of the last record that was done.
CREATE TABLE sealed_jobs (
  actor INTEGER PRIMARY KEY,
  was   INTEGER NOT NULL,
  now   INTEGER NOT NULL,
  purge INTEGER NOT NULL,
  after BLOB
) STRICT;

-- Marks tell the age of log rows: seq is the newest row when the index was age_us old, in time that it was seen to run.
CREATE TABLE marks (
  seq    INTEGER PRIMARY KEY,
  age_us INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE marks;
DROP TABLE sealed_jobs;
DROP TABLE resyncs;
DROP TABLE segments;
