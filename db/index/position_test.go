package index

import (
	"testing"

	"weft.dev/weft/db/codec"
)

// FuzzCheckPosition: a cursor passes exactly when it is a position and no more, and no bytes make the parser panic.
func FuzzCheckPosition(f *testing.F) {
	f.Add(codec.ListPosition{Rank: 1000, AccountID: 1, RkeySuffix: codec.AppendRkey(nil, "self")}.Append(nil))
	f.Add([]byte{1, 1, 5, 2, 1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{8, 1, 2})
	f.Fuzz(func(t *testing.T, after []byte) {
		if after == nil {
			return
		}
		_, rest, err := codec.DecodePosition(after)
		if want, got := err == nil && len(rest) == 0, checkPosition(after) == nil; got != want {
			t.Fatalf("%x passes: %v, want %v", after, got, want)
		}
	})
}
