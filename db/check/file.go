package check

import (
	"context"

	"weft.dev/weft/db"
)

// File checks one weft.db that no process has open and that has no WAL. It runs SQLite's integrity check and, if the
// schema is current, the rules of the small tables. It returns about 20 sentences at most, one for each error.
func File(ctx context.Context, path string) ([]string, error) {
	r, err := db.OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	c := &checker{s: r, core: r.Core(), o: Options{All: true}, report: &Report{Kinds: map[string]int64{}}}
	err = c.integrity(ctx)
	if err == nil && len(c.report.Problems) == 0 && r.CheckSchema() == nil {
		err = c.rules(ctx, databaseRules, 0)
		if err == nil {
			err = c.checksums(ctx)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil { // an unreadable page ends the check and is its result
		c.found(KindDatabase, mendDB, "%v", err)
	}
	var faults []string
	for _, p := range c.report.Problems {
		faults = append(faults, p.Text)
	}
	return faults, nil
}
