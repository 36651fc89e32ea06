package logrow

import (
	"database/sql"
	"fmt"

	"weft.dev/weft/db/codec"
)

// Unsigned returns a destination for Scan, of a column whose numbers are from 0 to the largest T. Any other value is
// damage, and the error of Scan then wraps codec.ErrMalformed. Without it database/sql returns an error of its own,
// and converts each number by way of text.
func Unsigned[T ~uint8 | ~uint64](to *T) sql.Scanner { return unsigned[T]{to} }

type unsigned[T ~uint8 | ~uint64] struct{ to *T }

// Scan implements sql.Scanner.
func (u unsigned[T]) Scan(column any) error {
	n, ok := column.(int64)
	if !ok || n < 0 || uint64(n) > uint64(^T(0)) {
		return fmt.Errorf("%v: %w", column, codec.ErrMalformed)
	}
	*u.to = T(n)
	return nil
}
