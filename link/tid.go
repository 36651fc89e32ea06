package link

// tidLen is the length of a TID in bytes: 64 bits at 5 bits a character.
const tidLen = 13

// tidAlphabet is base32-sortable: the order of the text is the order of the numbers.
const tidAlphabet = "234567abcdefghijklmnopqrstuvwxyz"

// tidValue has the value of each character of tidAlphabet, and 255 for every other byte.
var tidValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range len(tidAlphabet) {
		t[tidAlphabet[i]] = byte(i)
	}
	return t
}()

// ParseTID returns the number that the timestamp identifier s stands for: microseconds since 1970 in the upper 54 bits,
// a clock identifier in the lower 10. It reports false unless s is exactly 13 characters of base32-sortable whose first
// is one of "234567abcdefghij", because 13 characters hold 65 bits and the topmost must be zero.
func ParseTID(s string) (uint64, bool) {
	if len(s) != tidLen || tidValue[s[0]] > 15 {
		return 0, false
	}
	var tid uint64
	for i := range tidLen {
		v := tidValue[s[i]]
		if v > 31 {
			return 0, false
		}
		tid = tid<<5 | uint64(v)
	}
	return tid, true
}

// AppendTID appends the 13 characters of tid to dst. It is the inverse of ParseTID for every number.
func AppendTID(dst []byte, tid uint64) []byte {
	for shift := 60; shift >= 0; shift -= 5 {
		dst = append(dst, tidAlphabet[tid>>shift&31])
	}
	return dst
}

// TIDTimeUS returns the time of tid in microseconds since 1970.
func TIDTimeUS(tid uint64) int64 { return int64(tid >> 10) }
