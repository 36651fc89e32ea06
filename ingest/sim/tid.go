package sim

import (
	"crypto/sha256"
	"encoding/base32"
)

// sortAlphabet is TIDs' base32: its order is that of the numbers.
const sortAlphabet = "234567abcdefghijklmnopqrstuvwxyz"

// plcAlphabet is the base32 of did:plc identifiers (RFC 4648, lower case).
const plcAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

// tidOf packs a time in unix µs (53 bits) and a clock identifier (10 bits) into a TID's 64 bits.
func tidOf(us int64, clock uint16) uint64 {
	return uint64(us)<<10 | uint64(clock&1023)
}

// appendTID writes the 13 characters of a TID.
func appendTID(b []byte, tid uint64) []byte {
	var s [13]byte
	for i := len(s) - 1; i >= 0; i-- {
		s[i] = sortAlphabet[tid&31]
		tid >>= 5
	}
	return append(b, s[:]...)
}

func tidString(tid uint64) string {
	var s [13]byte
	return string(appendTID(s[:0], tid))
}

// newDID returns a DID: did:plc for 99 in 100 accounts, else did:web, which is rare on the network.
func newDID(r *rng) string {
	if r.one(100) {
		b := append([]byte("did:web:"), words[r.n(len(asciiWords))]...)
		b = append(b, '-')
		b = appendBase32(b, r.u64(), 8)
		return string(append(b, ".example.com"...))
	}
	b := append(make([]byte, 0, 32), "did:plc:"...)
	b = appendBase32(b, r.u64(), 12)
	return string(appendBase32(b, r.u64(), 12))
}

func appendBase32(b []byte, v uint64, n int) []byte {
	for range n {
		b = append(b, plcAlphabet[v&31])
		v >>= 5
	}
	return b
}

// cidPrefix begins every record's CID: version 1, dag-cbor, sha2-256, 32 bytes.
var cidPrefix = [4]byte{0x01, 0x71, 0x12, 0x20}

var cidBase32 = base32.NewEncoding(plcAlphabet).WithPadding(base32.NoPadding)

// cidOf returns the CID of a record's bytes in its usual text form: "b" and 58 characters of base32.
func cidOf(block []byte) string {
	return cidText(sha256.Sum256(block))
}

func cidText(sum [32]byte) string {
	var raw [36]byte
	copy(raw[:], cidPrefix[:])
	copy(raw[4:], sum[:])
	var s [59]byte
	s[0] = 'b'
	cidBase32.Encode(s[1:], raw[:])
	return string(s[:])
}

// fakeHash returns 32 bytes for the CIDs of content that the simulation doesn't have: blobs, and posts from before its
// start.
func fakeHash(r *rng) (sum [32]byte) {
	for i := 0; i < len(sum); i += 8 {
		v := r.u64()
		for j := range 8 {
			sum[i+j] = byte(v >> (8 * j))
		}
	}
	return sum
}
