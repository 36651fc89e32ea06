package sim

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"unicode/utf8"
)

var errCBOR = errors.New("sim: record isn't the CBOR that sim writes")

// appendRecordJSON converts a record's CBOR to atproto JSON ({"$link"} for CIDs, {"$bytes"} for bytes) without an
// intermediate tree of maps, which would cost several times as much.
func appendRecordJSON(dst, cbor []byte) ([]byte, error) {
	dst, rest, err := appendItem(dst, cbor)
	if err == nil && len(rest) != 0 {
		err = errCBOR
	}
	return dst, err
}

func appendItem(dst, b []byte) ([]byte, []byte, error) {
	major, v, b, ok := head(b)
	if !ok {
		return dst, b, errCBOR
	}
	switch major {
	case 0:
		return strconv.AppendUint(dst, v, 10), b, nil
	case 1:
		return strconv.AppendInt(dst, -1-int64(v), 10), b, nil
	case 2, 3:
		if uint64(len(b)) < v {
			return dst, b, errCBOR
		}
		if major == 3 {
			return appendQuoted(dst, b[:v]), b[v:], nil
		}
		dst = append(dst, `{"$bytes":"`...)
		dst = base64.RawStdEncoding.AppendEncode(dst, b[:v])
		return append(dst, `"}`...), b[v:], nil
	case 4, 5:
		return appendContainer(dst, b, major, v)
	case 6:
		_, size, b, ok := head(b)
		if v != 42 || !ok || size < 1 || uint64(len(b)) < size {
			return dst, b, errCBOR
		}
		dst = append(dst, `{"$link":"b`...)
		dst = cidBase32.AppendEncode(dst, b[1:size])
		return append(dst, `"}`...), b[size:], nil
	}
	switch v {
	case 20:
		return append(dst, "false"...), b, nil
	case 21:
		return append(dst, "true"...), b, nil
	case 22:
		return append(dst, "null"...), b, nil
	}
	return dst, b, errCBOR
}

func appendContainer(dst, b []byte, major byte, n uint64) ([]byte, []byte, error) {
	begin := byte('[')
	end := byte(']')
	if major == 5 {
		begin = '{'
		end = '}'
	}
	dst = append(dst, begin)
	var err error
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if major == 5 {
			dst, b, err = appendItem(dst, b)
			if err != nil {
				return dst, b, err
			}
			dst = append(dst, ':')
		}
		dst, b, err = appendItem(dst, b)
		if err != nil {
			return dst, b, err
		}
	}
	return append(dst, end), b, nil
}

// head reads an item's head: its major type and argument.
func head(b []byte) (major byte, v uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, b, false
	}
	major = b[0] >> 5
	info := b[0] & 31
	b = b[1:]
	switch {
	case info < 24:
		return major, uint64(info), b, true
	case info == 24 && len(b) >= 1:
		return major, uint64(b[0]), b[1:], true
	case info == 25 && len(b) >= 2:
		return major, uint64(binary.BigEndian.Uint16(b)), b[2:], true
	case info == 26 && len(b) >= 4:
		return major, uint64(binary.BigEndian.Uint32(b)), b[4:], true
	case info == 27 && len(b) >= 8:
		return major, binary.BigEndian.Uint64(b), b[8:], true
	}
	return 0, 0, b, false
}

const hexDigits = "0123456789abcdef"

// appendQuoted writes a JSON string. Like the real server it escapes the characters that encoding/json escapes, with
// U+2028 and HTML, so that readers must decode those escapes.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		if r == '\u2028' || r == '\u2029' {
			dst = append(dst, s[start:i]...)
			dst = append(dst, '\\', 'u', '2', '0', '2', hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
