-- +goose Up

-- followed_us: until when the upstream was followed without a break, by its clock; what it saw before has come, also where
-- it had nothing to send. It is set at the first connection, before any event. clock_us: its clock less ours, as far as
-- events have shown it, and 0 at most. epoch: grows each time that weft moves to another upstream; the one with the highest
-- was followed last.
ALTER TABLE upstream ADD COLUMN followed_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upstream ADD COLUMN clock_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE upstream ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
UPDATE upstream SET epoch = 1 WHERE host = (SELECT host FROM upstream ORDER BY cursor_us DESC, host LIMIT 1);

-- The names of upstreams had user names and passwords in them. An upstream that was followed by both spellings keeps the
-- cursor of the one without, and the higher mark of what may be a repeat.
UPDATE upstream SET high_seq = max(high_seq, (SELECT max(u.high_seq) FROM upstream u WHERE instr(u.host, '@') > 0
  AND substr(u.host, 1, instr(u.host, '://') + 2) || replace(u.host, rtrim(u.host, replace(u.host, '@', '')), '') = upstream.host))
WHERE host IN (SELECT substr(u.host, 1, instr(u.host, '://') + 2) || replace(u.host, rtrim(u.host, replace(u.host, '@', '')), '')
  FROM upstream u WHERE instr(u.host, '@') > 0);
UPDATE OR IGNORE upstream SET host = substr(host, 1, instr(host, '://') + 2) || replace(host, rtrim(host, replace(host, '@', '')), '')
WHERE instr(host, '@') > 0;
DELETE FROM upstream WHERE instr(host, '@') > 0;
UPDATE resyncs SET host = substr(host, 1, instr(host, '://') + 2) || replace(host, rtrim(host, replace(host, '@', '')), '')
WHERE instr(host, '@') > 0;
UPDATE gaps SET host = substr(host, 1, instr(host, '://') + 2) || replace(host, rtrim(host, replace(host, '@', '')), '')
WHERE instr(host, '@') > 0;
-- An older error may have quoted an address.
UPDATE gaps SET note = '' WHERE instr(note, '@') > 0 AND instr(note, '://') > 0;

-- +goose Down
ALTER TABLE upstream DROP COLUMN epoch;
ALTER TABLE upstream DROP COLUMN clock_us;
ALTER TABLE upstream DROP COLUMN followed_us;
