-- The yardstick of the storage benchmark, and nothing that weft uses: the plain schema of docs/design.md. A dictionary
-- of targets, the links clustered by target, the records with their links for deletes and updates, and counters.
CREATE TABLE actors (
  id  INTEGER PRIMARY KEY,
  did TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE sources (
  id         INTEGER PRIMARY KEY,
  collection TEXT NOT NULL,
  path       TEXT NOT NULL,
  UNIQUE (collection, path)
) STRICT;

CREATE TABLE targets (
  id  INTEGER PRIMARY KEY,
  uri TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE links (
  target INTEGER NOT NULL,
  source INTEGER NOT NULL,
  rkey   TEXT NOT NULL,
  actor  INTEGER NOT NULL,
  PRIMARY KEY (target, source, rkey, actor)
) STRICT, WITHOUT ROWID;

-- links: of each link a varint of its source and one of its target.
CREATE TABLE records (
  actor      INTEGER NOT NULL,
  collection INTEGER NOT NULL,
  rkey       TEXT NOT NULL,
  links      BLOB NOT NULL,
  PRIMARY KEY (actor, collection, rkey)
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
  target INTEGER NOT NULL,
  source INTEGER NOT NULL,
  links  INTEGER NOT NULL,
  PRIMARY KEY (target, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE upstream (
  host TEXT PRIMARY KEY,
  seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
