package logrow

import (
	"context"
	"database/sql"
	"math"
)

// Seqs reads the log rows that a table names, in order.
type Seqs struct {
	rows *sql.Rows
	next uint64 // the next one
}

// ReadSeqs returns the log rows of a query, which has them in order. Close must be called.
func ReadSeqs(ctx context.Context, q RowsQueryer, query string, args ...any) (*Seqs, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return &Seqs{rows: rows}, nil
}

// Has reports whether a log row is among them. It reads on to the row: the rows asked for are in order.
func (s *Seqs) Has(seq uint64) (bool, error) {
	for s.next < seq {
		if !s.rows.Next() {
			s.next = math.MaxUint64
			return false, s.rows.Err()
		}
		if err := s.rows.Scan(Unsigned(&s.next)); err != nil {
			return false, err
		}
	}
	return s.next == seq, nil
}

// Close ends the query.
func (s *Seqs) Close() { _ = s.rows.Close() }
