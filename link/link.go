// Package link says what a link is: which strings in a record are links, and the one spelling of each that the index
// stores and that queries are brought to.
package link

import "unsafe"

// Kind is what a target is.
type Kind uint8

const (
	None  Kind = iota // not a link
	AtURI             // at://authority[/path][?query][#fragment]
	DID               // did:method:id
	URI               // any other absolute URI
)

// String returns the kind's name in lower case, for logs and test output.
func (k Kind) String() string {
	switch k {
	case AtURI:
		return "at-uri"
	case DID:
		return "did"
	case URI:
		return "uri"
	default:
		return "none"
	}
}

// MaxLen is the longest link in bytes, before and after normalisation: 8 KiB, atproto's limit for at-uris and for the
// lexicon string format "uri".
const MaxLen = 8 << 10

// minLen is the shortest link in bytes: a scheme of one letter, the colon and one byte more.
const minLen = 3

// Parse returns the normalised form and the kind of s, or ("", None) if the whole of s is not a link. It returns s
// itself, without a copy, when s is normal already.
func Parse(s string) (string, Kind) {
	// Room on the stack for all but the longest links, which fall back to the heap.
	var buf [512]byte
	out, kind := appendLink(buf[:0], s)
	switch {
	case kind == None:
		return "", None
	case string(out) == s:
		return s, kind
	default:
		return string(out), kind
	}
}

// Append appends the normalised form of s to dst and returns the extended slice with the link's kind. When the whole of
// s is not a link it returns dst unchanged and None. s must not overlap the free capacity of dst.
//
// What it appends is printable ASCII, at most MaxLen bytes, and normal: appending that again gives the same bytes and
// the same kind. It allocates only if dst is too small, a web page's host is beyond ASCII or an IPv6 address is broken.
func Append(dst, s []byte) ([]byte, Kind) {
	// The string lives no longer than this call and nothing writes to s meanwhile, so the bytes needn't be copied.
	return appendLink(dst, unsafe.String(unsafe.SliceData(s), len(s)))
}

func appendLink(dst []byte, s string) ([]byte, Kind) {
	if len(s) < minLen || len(s) > MaxLen {
		return dst, None
	}
	// Nearly every string of a record is rejected here: text has a space, or its end, before any colon.
	colon := schemeEnd(s)
	if colon < 0 || colon == len(s)-1 {
		return dst, None
	}
	from := len(dst)
	var kind Kind
	out, ok := dst, false
	switch rest := s[colon+1:]; {
	case colon == 2 && s[0]|0x20 == 'a' && s[1]|0x20 == 't' && len(rest) >= 2 && rest[:2] == "//":
		// A bad at-uri doesn't fall back to a generic URI: that would give the record that it nearly names a second
		// spelling.
		kind = AtURI
		out, ok = appendAtURI(dst, rest[2:])
	case colon == 3 && s[0]|0x20 == 'd' && s[1]|0x20 == 'i' && s[2]|0x20 == 'd':
		// The same for DIDs. Lower-casing "DID:" as a generic scheme would even turn a string that isn't a DID into
		// one.
		kind = DID
		if ok = ValidDID(s); ok {
			out = append(dst, s...)
		}
	default:
		kind = URI
		out, ok = appendURI(dst, s[:colon], rest)
	}
	if !ok || len(out)-from > MaxLen {
		return dst, None
	}
	return out, kind
}

// schemeEnd returns the index of the colon that ends the URI scheme with which s begins, or -1 if it begins with none.
func schemeEnd(s string) int {
	if s[0]|0x20 < 'a' || s[0]|0x20 > 'z' {
		return -1
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if class[c]&inScheme != 0 {
			continue
		}
		if c == ':' {
			return i
		}
		return -1
	}
	return -1
}
