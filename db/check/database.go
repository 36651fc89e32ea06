package check

import (
	"context"
	"fmt"
)

// sqlRule is a query that returns a sentence for each row that breaks the rule. ?1 is the first log row to check.
type sqlRule struct{ kind, mend, query string }

// databaseRules are rules of the small tables.
var databaseRules = []sqlRule{
	{KindDatabase, mendDB,
		`SELECT printf('upstream %s goes on at %d, and the highest number that it has seen is %d', host, seq, high_seq)
		FROM upstream WHERE host = '' OR seq < 0 OR seq > high_seq OR time_us < 0`},
	{KindDatabase, mendDB, `SELECT printf('gap %d of %s is from %d to %d, and %s', id, host, from_seq, to_seq, state)
		FROM gaps WHERE from_seq > to_seq OR state NOT IN ('open', 'filled')`},
	{KindDatabase, mendDB, `SELECT printf('mark %d has the time %d, and the one before it %d', seq, clock_us, before)
		FROM (SELECT seq, clock_us, lag(clock_us) OVER (ORDER BY seq) AS before FROM marks) WHERE clock_us < before`},
	{KindName, mendDB, `SELECT printf('accounts %d to %d have %d rows', min(id), max(id), count(*)) FROM actors
		HAVING count(*) > 0 AND (min(id) <> 1 OR max(id) <> count(*))`},
	{KindName, mendDB, `SELECT printf('collections %d to %d have %d rows', min(id), max(id), count(*)) FROM collections
		HAVING count(*) > 0 AND (min(id) <> 1 OR max(id) <> count(*))`},
	{KindName, mendDB, `SELECT printf('sources %d to %d have %d rows', min(id), max(id), count(*)) FROM sources
		HAVING count(*) > 0 AND (min(id) <> 1 OR max(id) <> count(*))`},
	{KindName, mendDB, `SELECT printf('source %d is of collection %d, which has no row', id, collection) FROM sources
		WHERE collection NOT IN (SELECT id FROM collections)`},
	{KindName, mendDB,
		`SELECT printf('account %d has the status %d', id, status) FROM actors
		WHERE status <> 0 AND status NOT BETWEEN 1 AND 5`},
	{KindManifest, mendDB,
		`SELECT printf('segment %s is as of account %d, collection %d and source %d, which have no row',
			file, actors, collections, sources)
		FROM segments WHERE actors > (SELECT ifnull(max(id), 0) FROM actors)
		OR sources > (SELECT ifnull(max(id), 0) FROM sources)
		OR collections > (SELECT ifnull(max(id), 0) FROM collections)`},
}

// database checks weft.db as a file, and all tables except names and log.
func (c *checker) database(ctx context.Context) error {
	if err := c.integrity(ctx); err != nil {
		return err
	}
	return c.rules(ctx, databaseRules, 0)
}

// integrity runs SQLite's integrity check of weft.db.
func (c *checker) integrity(ctx context.Context) error {
	pragma := "quick_check"
	if c.o.All {
		pragma = "integrity_check"
	}
	c.begin("weft.db, with SQLite's " + pragma)
	var size int64
	if err := c.s.Reader().GetContext(ctx, &size,
		"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"); err != nil {
		return err
	}
	var said []string
	if err := c.s.Reader().SelectContext(ctx, &said, fmt.Sprintf("PRAGMA %s(%d)", pragma, maxProblems)); err != nil {
		return err
	}
	for _, text := range said {
		if text != "ok" {
			c.found(KindDatabase, mendDB, "SQLite's %s: %s", pragma, text)
		}
	}
	c.checked("weft.db", size, "bytes, with SQLite's "+pragma)
	return nil
}

// rules reports all rows that break a rule.
func (c *checker) rules(ctx context.Context, rules []sqlRule, from uint64) error {
	for _, r := range rules {
		var args []any
		if from > 0 {
			args = append(args, int64(from))
		}
		rows, err := c.s.Reader().QueryContext(ctx, r.query, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				_ = rows.Close()
				return err
			}
			c.found(r.kind, r.mend, "%s", text)
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}
