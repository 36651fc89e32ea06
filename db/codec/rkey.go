package codec

import (
	"encoding/binary"
	"fmt"

	"weft.dev/weft/link"
)

const (
	rkeyNone byte = 0
	rkeyTID  byte = 1
	rkeyText byte = 2
	// Most ranks are the time in the TID. The key holds that time once, which saves a quarter of a segment's run by
	// target.
	rkeyClock byte = 3
)

// AppendRkey encodes a record key.
func AppendRkey(dst []byte, rkey string) []byte {
	if tid, ok := link.ParseTID(rkey); ok {
		return AppendTIDRkey(dst, tid)
	}
	return append(append(append(dst, rkeyText), rkey...), 0)
}

// AppendTIDRkey encodes a record key that is a TID.
func AppendTIDRkey(dst []byte, tid uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, rkeyTID), tid)
}

// DecodeRkey splits a record key, still encoded, from the front of key.
func DecodeRkey(key []byte) (raw, rest []byte, err error) {
	if len(key) == 0 {
		return nil, nil, ErrMalformed
	}
	switch key[0] {
	case rkeyTID:
		if len(key) >= 9 {
			return key[:9], key[9:], nil
		}
	case rkeyText:
		if n := textLen(key[1:]); n > 0 {
			return key[:1+n], key[1+n:], nil
		}
	}
	return nil, nil, ErrMalformed
}

// RkeyString decodes a record key.
func RkeyString(raw []byte) string {
	if raw[0] == rkeyTID {
		return string(link.AppendTID(nil, binary.BigEndian.Uint64(raw[1:])))
	}
	return string(raw[1 : len(raw)-1])
}

// AppendRkeyText appends the text of an encoded record key.
func AppendRkeyText(dst, raw []byte) []byte {
	if raw[0] == rkeyTID {
		return link.AppendTID(dst, binary.BigEndian.Uint64(raw[1:]))
	}
	return append(dst, raw[1:len(raw)-1]...)
}

// IsTID reports whether an encoded record key is a TID.
func IsTID(raw []byte) bool { return raw[0] == rkeyTID }

// textLen returns the length of the text at the front of key with the zero that ends it; 0: there is no such text.
func textLen(key []byte) int {
	for i, b := range key {
		if b == 0 {
			return i + 1
		}
	}
	return 0
}

// DecodeRkeyColumn encodes the record key of a log row of schema 11 or before, which had a TID as an integer and any
// other key as text; nil: the column is null.
func DecodeRkeyColumn(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int64:
		return AppendTIDRkey(nil, uint64(v)), nil
	case string:
		return AppendRkey(nil, v), nil
	}
	return nil, fmt.Errorf("rkey of type %T: %w", v, ErrMalformed)
}
