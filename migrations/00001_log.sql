-- +goose Up

-- STRICT keeps every value of the type that it came with: without it, a record key that looks like a number, which any
-- author may choose, would become one.

-- Single facts about this index: instance (a random name, kept by a restore), created (when, RFC 3339), started_us (the
-- time of the first event indexed), and the checksum of each migration that was applied.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Where we are in each upstream. seq: where to go on from; all up to it is in the log. high_seq: the highest number
-- ever seen, which is above seq after the upstream has lost events and gives their numbers to others; up to it, an event
-- may be a repeat. time_us: the newest time of any event.
CREATE TABLE upstream (
  host     TEXT PRIMARY KEY,
  kind     TEXT NOT NULL,
  seq      INTEGER NOT NULL,
  high_seq INTEGER NOT NULL,
  time_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Accounts, as authors and as targets. status: 0 active, 1 deactivated, 2 suspended, 3 takendown, 4 deleted, 5 otherwise
-- inactive; since_us: the newest time of any event when that
-- began. There is no index by DID on purpose: a random B-tree would cost a page of WAL for
-- each new account; the index keeps names sorted in runs instead, and the one writer keeps them unique.
CREATE TABLE actors (
  id       INTEGER PRIMARY KEY,
  did      TEXT NOT NULL,
  status   INTEGER NOT NULL DEFAULT 0,
  since_us INTEGER
) STRICT;
CREATE INDEX actors_inactive ON actors (status) WHERE status <> 0;

CREATE TABLE collections (
  id   INTEGER PRIMARY KEY,
  nsid TEXT NOT NULL UNIQUE
) STRICT;

-- A source is a collection and a path in its records, without the leading dot: subject.uri
CREATE TABLE sources (
  id         INTEGER PRIMARY KEY,
  collection INTEGER NOT NULL REFERENCES collections (id),
  path       TEXT NOT NULL,
  UNIQUE (collection, path)
) STRICT;

-- The log: a row per event that changed something, in order; a seq is never used twice.
-- op: 1 create, 2 update, 3 delete, 4 account, 5 sync, 6 seen (unchanged, during a sync), 7 the sync's end, 8 a step of a
-- change of status, 9 the first record after a sync.
-- rkey: a TID as an integer, any other record key as text. rev: a TID as an integer.
-- status (account rows): 16 times the old status plus the new one, plus 128 when rows with op 8 follow.
CREATE TABLE records (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  time_us    INTEGER NOT NULL,
  op         INTEGER NOT NULL,
  actor      INTEGER NOT NULL,
  collection INTEGER,
  rkey       ANY,
  rev        INTEGER,
  status     INTEGER
) STRICT;

-- The links that a log row added (op 1) or removed (op 0). id is seq * 4096 + n: an append to one B-tree, where a
-- composite key would split pages. target: docs/storage.md. rank: only where the rkey's TID does not give it.
CREATE TABLE links (
  id     INTEGER PRIMARY KEY,
  op     INTEGER NOT NULL,
  source INTEGER NOT NULL,
  target BLOB NOT NULL,
  rank   INTEGER
) STRICT;

-- Spans of upstream that were missed: from and to are sequence numbers, both inclusive; state: open or filled.
CREATE TABLE gaps (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  host     TEXT NOT NULL,
  from_seq INTEGER NOT NULL,
  to_seq   INTEGER NOT NULL,
  why      TEXT NOT NULL,
  state    TEXT NOT NULL,
  found_us INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE gaps;
DROP TABLE links;
DROP TABLE records;
DROP TABLE sources;
DROP TABLE collections;
DROP TABLE actors;
DROP TABLE upstream;
DROP TABLE meta;
