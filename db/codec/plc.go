package codec

import "math"

// Most accounts are did:plc: and 24 digits of base32, which are 15 random bytes. Their keys by name have a fixed form:
// these 15 bytes, in which the digits 2 to 7 are below the digits a to z, as in text, so that fixed forms compare like
// keys.
const (
	// PLCSize is the length of the fixed form of a key, in bytes.
	PLCSize = 15

	plcPrefix = string(KindDID) + "did:plc:"
	plcDigits = 24
	digits    = "234567abcdefghijklmnopqrstuvwxyz"
)

// noDigit is the value in digitOf of a byte that is no digit.
const noDigit = 0xff

// digitOf has the value of each digit.
var digitOf = func() (of [256]byte) {
	for i := range of {
		of[i] = noDigit
	}
	for i := range len(digits) {
		of[digits[i]] = byte(i)
	}
	return of
}()

// AppendPLC appends the fixed form of a key by name. ok is false for a key that has none.
func AppendPLC(dst, key []byte) (fixed []byte, ok bool) {
	if len(key) != len(plcPrefix)+plcDigits || string(key[:len(plcPrefix)]) != plcPrefix {
		return dst, false
	}
	for text := key[len(plcPrefix):]; len(text) > 0; text = text[8:] { // 8 digits are 5 bytes
		bits := uint64(0)
		for _, c := range text[:8] {
			d := digitOf[c]
			if d == noDigit {
				return dst, false
			}
			bits = bits<<5 | uint64(d)
		}
		dst = append(dst, byte(bits>>32), byte(bits>>24), byte(bits>>16), byte(bits>>8), byte(bits))
	}
	return dst, true
}

// AppendPLCKey appends the key that has a fixed form of PLCSize bytes.
func AppendPLCKey(dst, fixed []byte) []byte {
	dst = append(dst, plcPrefix...)
	for ; len(fixed) >= 5; fixed = fixed[5:] {
		bits := uint64(fixed[0])<<32 | uint64(fixed[1])<<24 | uint64(fixed[2])<<16 | uint64(fixed[3])<<8 | uint64(fixed[4])
		for shift := 35; shift >= 0; shift -= 5 {
			dst = append(dst, digits[bits>>shift&31])
		}
	}
	return dst
}

// NameOrder returns a number for a key by name, or for the beginning of one: a key above another never has a lower
// number. Nearly all keys with a fixed form have different numbers: the first 64 bits of that form.
func NameOrder(key []byte) uint64 {
	n := min(len(key), len(plcPrefix))
	switch head := string(key[:n]); {
	case head < plcPrefix:
		return 0
	case head > plcPrefix:
		return math.MaxUint64
	}
	order := uint64(0)
	for i, c := range key[n:] {
		before := 5 * i // bits of the digits before this one
		if before >= 64 {
			break
		}
		d := uint64(digitOf[c])
		if d == noDigit {
			if c > 'z' { // above all digits, whatever follows them
				return order | math.MaxUint64>>before
			}
			return order | nextDigit(c)<<59>>before
		}
		order |= d << 59 >> before // of the 13th digit, 4 bits
	}
	return order
}

// nextDigit returns the value of the lowest digit above a byte that is no digit and not above all.
func nextDigit(c byte) uint64 {
	if c < '2' {
		return 0
	}
	return uint64(digitOf['a'])
}

// NameID returns the id that a value by name stands for. ok is false for a value that AppendID does not write.
func NameID(value []byte) (id uint64, ok bool) {
	id, rest, err := DecodeID(value)
	return id, err == nil && len(rest) == 0 && (len(value) == 1 || value[1] != 0)
}
