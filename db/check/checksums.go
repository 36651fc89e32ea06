package check

import (
	"context"
	"fmt"
	"slices"

	"weft.dev/weft/db/logrow"
)

// checksums compares the log and the names with the checksums of their commits: all names, and all log rows or those of
// a sample.
func (c *checker) checksums(ctx context.Context) error {
	c.begin("the checksums of the log and the names")
	log, names, err := logrow.Points(ctx, c.s.Reader(), 0)
	if err != nil {
		return err
	}
	if log == nil {
		c.report.Notes = append(c.report.Notes,
			"the log and the names have no checksums yet: the next start of weft serve computes them")
		return nil
	}
	last := log[len(log)-1]
	if !c.o.All { // from the newest checksum with enough rows after it
		i := slices.IndexFunc(log, func(p logrow.Point) bool { return p.Seq+sampleLog > last.Seq })
		log = log[max(i-1, 0):]
	}
	sum := logrow.Adder{Q: c.s.Reader()}
	if c.o.Progress != nil {
		sum.Progress = func(rows int64) { c.o.Progress("the checksums of the log and the names", rows, 0) }
	}
	faults, err := sum.VerifyLog(ctx, log)
	if err != nil {
		return err
	}
	for i := range faults {
		c.found(KindLog, mendDB, "%s", faults[i].LogFault())
	}
	faults, err = sum.VerifyNames(ctx, names)
	if err != nil {
		return err
	}
	for i := range faults {
		c.found(KindName, mendDB, "%s", faults[i].NamesFault())
	}
	status, err := sum.Status(ctx)
	if err != nil {
		return err
	}
	if err := logrow.VerifyStatus(ctx, c.s.Reader(), status); err != nil {
		c.found(KindName, mendDB, "%s", logrow.StatusFault)
	}
	c.checked("checksums", sum.Rows, fmt.Sprintf("of the log after row %d with its links, of all names and statuses",
		log[0].Seq))
	return c.unsummed(ctx, log[0].Seq)
}

// unsummed notes the log rows before the first known checksum.
func (c *checker) unsummed(ctx context.Context, first uint64) error {
	if !c.o.All {
		return nil
	}
	oldest, _, err := logrow.Range(ctx, c.s.Reader())
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
