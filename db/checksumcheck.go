package db

import (
	"context"
	"fmt"
	"slices"
)

// checksums holds the log and the names against the sums that were kept as of their commits: all names, and the log
// rows that a sample looks at, or all.
func (c *check) checksums(ctx context.Context) error {
	c.begin("the checksums of the log and the names")
	log, names, err := sumPoints(ctx, c.s.reader, 0)
	if err != nil {
		return err
	}
	if log == nil {
		c.report.Notes = append(c.report.Notes,
			"the log and the names have no checksums yet: the next start of weft serve computes them")
		return nil
	}
	last := log[len(log)-1]
	if !c.o.All { // from the newest point that has as many rows behind it
		i := slices.IndexFunc(log, func(p sumPoint) bool { return p.seq+sampleLog > last.seq })
		log = log[max(i-1, 0):]
	}
	sum := summer{q: c.s.reader}
	if c.o.Progress != nil {
		sum.progress = func(rows int64) { c.o.Progress("the checksums of the log and the names", rows, 0) }
	}
	faults, err := sum.verifyLog(ctx, log)
	if err != nil {
		return err
	}
	for i := range faults {
		c.found(KindLog, mendDB, "%s", faults[i].logFault())
	}
	faults, err = sum.verifyNames(ctx, names)
	if err != nil {
		return err
	}
	for i := range faults {
		c.found(KindName, mendDB, "%s", faults[i].namesFault())
	}
	status, err := sum.status(ctx)
	if err != nil {
		return err
	}
	if err := verifyStatus(ctx, c.s.reader, status); err != nil {
		c.found(KindName, mendDB, "%s", statusFault)
	}
	c.checked("checksums", sum.rows, fmt.Sprintf("of the log after row %d with its links, of all names and statuses",
		log[0].seq))
	return c.unsummed(ctx, log[0].seq)
}

// unsummed notes the log rows before the first place at which a sum is known.
func (c *check) unsummed(ctx context.Context, first uint64) error {
	if !c.o.All {
		return nil
	}
	oldest, _, err := logRange(ctx, c.s.reader)
	if err != nil || oldest == 0 || oldest > first {
		return err
	}
	if first > 0 {
		c.report.Notes = append(c.report.Notes,
			fmt.Sprintf("log rows %d to %d are compared with the segments only: pruning removed the checksum "+
				"before them",
				oldest, first))
	}
	return nil
}
