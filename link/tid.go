package link

import "github.com/jcalabro/atmos"

// tidLen is the length of a TID in bytes.
const tidLen = 13

// ParseTID returns the 64-bit number of the timestamp identifier s: microseconds since 1970 in the upper 54 bits, a
// clock identifier in the lower 10. ok is false if s is not a TID.
func ParseTID(s string) (tid uint64, ok bool) {
	if len(s) != tidLen {
		return 0, false // without the error that atmos allocates: many record keys are no TIDs
	}
	parsed, err := atmos.ParseTID(s)
	if err != nil {
		return 0, false
	}
	return parsed.Integer(), true
}

// AppendTID appends the 13 characters of tid to dst. It is the inverse of ParseTID for every number. atmos cannot do
// this: it clears the topmost bit, which ParseTID accepts.
func AppendTID(dst []byte, tid uint64) []byte {
	for shift := 60; shift >= 0; shift -= 5 {
		dst = append(dst, atmos.Base32SortAlphabet[tid>>shift&31])
	}
	return dst
}

// TIDTimeUS returns the time of tid in microseconds since 1970.
func TIDTimeUS(tid uint64) int64 { return int64(tid >> 10) }
