-- +goose Up

-- The first link of a log row is in the row itself, if its rank is the TID's and it was added, or removed by a delete. Most
-- rows have one link, for which a second table took a second row. more_links has the others, and all links of rows of an
-- older weft. SQLite reads all rows of a STRICT table for each added column, and changes none.
ALTER TABLE links RENAME TO more_links;
ALTER TABLE records ADD COLUMN source INTEGER;
ALTER TABLE records ADD COLUMN target BLOB;

-- All links that log rows added (op 1) or removed (op 0). id is seq * 4096 + n.
CREATE VIEW links AS
SELECT seq, seq << 12 AS id, op <> 3 AS op, source, target, NULL AS rank FROM records WHERE source IS NOT NULL
UNION ALL
SELECT id >> 12 AS seq, id, op, source, target, rank FROM more_links;

-- +goose Down
DROP VIEW links;
INSERT INTO more_links (id, op, source, target)
SELECT seq << 12, op <> 3, source, target FROM records WHERE source IS NOT NULL;
ALTER TABLE records DROP COLUMN target;
ALTER TABLE records DROP COLUMN source;
ALTER TABLE more_links RENAME TO links;
