package check

import (
	"context"

	"weft.dev/weft/db"
)

// File checks a weft.db by itself. No process has it open, and it has no WAL: with SQLite's integrity check, and
// the rules of its small tables where its schema is this weft's. It answers what is wrong, at most some twenty
// sentences.
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
	if err != nil { // a page that can't be read ends the check, and is the fault that was looked for
		c.found(KindDatabase, mendDB, "%v", err)
	}
	var faults []string
	for _, p := range c.report.Problems {
		faults = append(faults, p.Text)
	}
	return faults, nil
}
