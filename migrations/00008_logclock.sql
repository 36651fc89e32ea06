-- +goose Up

-- The age of log rows is measured by the log's clock, which follows the times of events (docs/design.md): clock_us is its
-- time when seq was the newest row. Ages in running time become times before the newest event.
ALTER TABLE marks RENAME COLUMN age_us TO clock_us;
UPDATE marks SET clock_us = clock_us + (SELECT ifnull(max(time_us), 0) FROM upstream) - (SELECT max(clock_us) FROM marks);

-- +goose Down
UPDATE marks SET clock_us = clock_us - (SELECT min(clock_us) FROM marks);
ALTER TABLE marks RENAME COLUMN clock_us TO age_us;
