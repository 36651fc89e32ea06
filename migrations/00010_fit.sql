-- +goose Up

-- The horizon of what the rules keep as long as the budget of disk space allows, in microseconds since 1970; 0: none yet.
ALTER TABLE retention ADD COLUMN fit_us INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE retention DROP COLUMN fit_us;
