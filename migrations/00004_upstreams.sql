-- +goose Up

-- cursor_us: the time of the event at seq, by the server's clock; a server that has another event there counts anew.
-- instance: how often the server was found to, and 1; from 2 on any of its events may be a repeat.
ALTER TABLE upstream ADD COLUMN cursor_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upstream ADD COLUMN instance INTEGER NOT NULL DEFAULT 1;

-- The upstream whose sync it was, and the sync's number there: only that upstream's events go on with it or end it.
ALTER TABLE resyncs ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE resyncs ADD COLUMN sync_seq INTEGER NOT NULL DEFAULT 0;

-- The revision of an account's last resync that was completed: a sync that comes again with it changes nothing.
CREATE TABLE synced (
  actor INTEGER PRIMARY KEY,
  rev   INTEGER NOT NULL
) STRICT;

-- from_seq and to_seq are positions as the upstream counts them: from 10^15 on, microseconds since 1970. from_us and
-- to_us: the times of the events on both sides, 0 when not known. tries, tried_us, note: how often it was tried to fill
-- it, when last, and what came of that.
ALTER TABLE gaps ADD COLUMN from_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gaps ADD COLUMN to_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gaps ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gaps ADD COLUMN tried_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gaps ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE gaps DROP COLUMN note;
ALTER TABLE gaps DROP COLUMN tried_us;
ALTER TABLE gaps DROP COLUMN tries;
ALTER TABLE gaps DROP COLUMN to_us;
ALTER TABLE gaps DROP COLUMN from_us;
DROP TABLE synced;
ALTER TABLE resyncs DROP COLUMN sync_seq;
ALTER TABLE resyncs DROP COLUMN host;
ALTER TABLE upstream DROP COLUMN instance;
ALTER TABLE upstream DROP COLUMN cursor_us;
