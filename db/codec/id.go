// Package codec encodes and decodes the keys and values of the index. docs/storage.md gives them byte by byte.
//
// Keys compare byte by byte. Every part is self-delimiting: a key splits into its parts from the front, and all keys
// with the same leading parts are one range.
//
//	target   = 0x01 account 0x00                      a DID
//	         | 0x01 account 0x01                      at://did
//	         | 0x01 account 0x02 collection 0x00      at://did/collection
//	         | 0x01 account 0x02 collection rkey      at://did/collection/rkey
//	         | 0x02 text 0x00                         any other target, normalised
//	rkey     = 0x01 (8 bytes)                         a TID
//	         | 0x02 text 0x00                         any other record key
//	suffix   = 0x03 (2 bytes)                         a TID whose time is the rank: its clock id
//	         | rkey                                   any other record key
//	by target: target source ^rank account suffix     → 1: linked, 0: no longer
//	by record: account collection rkey                → the record's links; none: the record is gone
//	           account 0x00                           → the newest revision of the account
//	by name:   'd' did | 'c' nsid | 's' collection path → id
//
// AppendID writes ids. A rank is 8 bytes, big-endian, inverted: the newest link sorts first.
package codec

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// ErrMalformed reports a key or a value that this package did not write.
var ErrMalformed = errors.New("malformed key")

// MaxID is the length of the longest id, in bytes.
const MaxID = 9

// AppendID writes an id so that ids compare like their encodings: the number of its bytes, then its bytes, big-endian.
func AppendID(dst []byte, id uint64) []byte {
	var id8 [8]byte
	binary.BigEndian.PutUint64(id8[:], id)
	n := (bits.Len64(id) + 7) / 8
	return append(append(dst, byte(n)), id8[8-n:]...)
}

// DecodeID reads an id from the front of key.
func DecodeID(key []byte) (id uint64, rest []byte, err error) {
	if len(key) == 0 || key[0] > 8 || len(key) < 1+int(key[0]) {
		return 0, nil, ErrMalformed
	}
	for _, b := range key[1 : 1+key[0]] {
		id = id<<8 | uint64(b)
	}
	return id, key[1+key[0]:], nil
}
