package logrow

import (
	"errors"
	"math"
	"testing"

	"weft.dev/weft/db/codec"
)

// TestUnsigned: a column that is no number from 0 to the largest is damage, and changes nothing.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		column     any
		inID, inOp bool // it fits
	}{
		{"0", int64(0), true, true},
		{"the largest of a byte", int64(255), true, true},
		{"above a byte", int64(256), true, false},
		{"the largest", int64(math.MaxInt64), true, false},
		{"below 0", int64(-1), false, false},
		{"text", "7", false, false},
		{"a fraction", 7.0, false, false},
		{"nothing", nil, false, false},
	} {
		id := uint64(42)
		op := Op(42)
		idErr := Unsigned(&id).Scan(tc.column)
		opErr := Unsigned(&op).Scan(tc.column)
		n, _ := tc.column.(int64)
		if (idErr == nil) != tc.inID || idErr != nil && (id != 42 || !errors.Is(idErr, codec.ErrMalformed)) ||
			idErr == nil && id != uint64(n) {
			t.Errorf("%s, as an id: %d, %v", tc.name, id, idErr)
		}
		if (opErr == nil) != tc.inOp || opErr != nil && (op != 42 || !errors.Is(opErr, codec.ErrMalformed)) ||
			opErr == nil && op != Op(n) {
			t.Errorf("%s, as an op: %d, %v", tc.name, op, opErr)
		}
	}
}
