-- +goose Up

-- The rules that all links are spelled by (link.Spelling): 1 for an index that is older than this fact. The store
-- rewrites links of other rules than its own, and keeps how far it is in spelling_after.
INSERT INTO meta (key, value) VALUES ('spelling', '1');

-- +goose Down
DELETE FROM meta WHERE key IN ('spelling', 'spelling_after');
