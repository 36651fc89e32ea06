package check

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"weft.dev/weft/db/logrow"
)

// bodyRows checks the log rows from one on that have a body, and those that put one out of date.
func (c *checker) bodyRows(ctx context.Context, from, newest uint64) error {
	q := c.s.Reader()
	bodies, err := logrow.ReadSeqs(ctx, q, "SELECT seq FROM bodies WHERE seq >= ? ORDER BY seq", int64(from))
	if err != nil {
		return err
	}
	defer bodies.Close()
	replaced, err := newReplacedRows(ctx, q, from)
	if err != nil {
		return err
	}
	defer replaced.close()
	misplaced := func() {
		c.found(KindBody, mendBody, "log row %d puts the body of log row %d out of date", replaced.seq, replaced.body)
	}
	damaged := func(e *logrow.BlockError) { // the check of the log has reported it
		for ; replaced.seq <= e.Last; replaced.next() {
			if replaced.seq < e.First {
				misplaced()
			}
		}
	}
	err = c.scanLog(ctx, from, newest, damaged, func(rows logrow.Rows) error {
		for i := range rows.Log {
			r := &rows.Log[i]
			has, err := bodies.Has(r.Seq)
			if err != nil {
				return err
			}
			if has && r.Op != logrow.OpCreate && r.Op != logrow.OpUpdate {
				c.found(KindBody, mendBody, "log row %d, of op %d, has a body", r.Seq, r.Op)
			}
			for ; replaced.seq <= r.Seq; replaced.next() {
				if replaced.seq < r.Seq || replaced.body >= r.Seq || !changesLinks(r.Op) {
					misplaced()
				}
			}
		}
		return ctx.Err()
	})
	for ; err == nil && replaced.seq != math.MaxUint64; replaced.next() {
		misplaced()
	}
	return errors.Join(err, replaced.err)
}

// replacedRows reads the table replaced from a log row on, in order.
type replacedRows struct {
	rows      *sql.Rows
	seq, body uint64 // the present row; seq is math.MaxUint64 behind the last one, and after an error
	err       error
}

func newReplacedRows(ctx context.Context, q logrow.Queryer, from uint64) (*replacedRows, error) {
	rows, err := q.QueryContext(ctx, "SELECT seq, body FROM replaced WHERE seq >= ? ORDER BY seq", int64(from))
	if err != nil {
		return nil, err
	}
	r := &replacedRows{rows: rows}
	r.next()
	return r, nil
}

func (r *replacedRows) next() {
	if r.rows.Next() {
		r.err = r.rows.Scan(logrow.Unsigned(&r.seq), logrow.Unsigned(&r.body))
	} else {
		r.seq = math.MaxUint64
		r.err = r.rows.Err()
	}
	if r.err != nil {
		r.seq = math.MaxUint64
	}
}

func (r *replacedRows) close() { _ = r.rows.Close() }
