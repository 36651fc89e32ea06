package link

import (
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Spelling names the rules that Parse and Append spell links by. An index keeps the name with its links; one that was
// made by other rules is rewritten (db). The Unicode version is a part of it: which hosts UTS 46 can map depends on it.
const Spelling = "2 unicode " + idna.UnicodeVersion

// domains maps hosts as UTS 46 and the WHATWG URL standard say ("domain to ASCII", not strict): nontransitional, with
// the rules for joiners and for text from right to left. Names with an underscore or with "--" in them exist and pass.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false),
	idna.CheckHyphens(false))

// maxDomain is the longest host in bytes of UTF-8 that is mapped. A domain name has at most 253 bytes in ASCII, and a
// label of Punycode at most 59 characters of 4 bytes each. It bounds the cost, which grows with the square of the length.
const maxDomain = 1 << 10

// appendWebHost appends the host of an http or https URI, which is not an address in brackets. A host beyond ASCII, or
// with escapes, is mapped to ASCII (Punycode). What UTS 46 refuses is spelled like the host of any other URI.
func appendWebHost(dst []byte, host string) ([]byte, bool) {
	from := len(dst)
	dst, ok := appendPart(dst, host, inHost)
	lower(dst[from:])
	if !ok || !escaped(dst[from:]) {
		return dst, ok
	}
	name := unescape(dst[from:])
	if len(name) > maxDomain || !utf8.Valid(name) {
		return dst, true
	}
	ascii, err := domains.ToASCII(string(name))
	if err != nil || ascii == "" {
		return dst, true
	}
	for i := range len(ascii) {
		// Fullwidth slashes and question marks are mapped to those that end a host, and an escape can be one.
		if class[ascii[i]]&unreserved == 0 {
			return dst, true
		}
	}
	return append(dst[:from], ascii...), true
}

// escaped reports whether b has a percent escape.
func escaped(b []byte) bool {
	for _, c := range b {
		if c == '%' {
			return true
		}
	}
	return false
}

// unescape returns b with its percent escapes, which are well-formed, decoded once.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' {
			out = append(out, unhex(b[i+1])<<4|unhex(b[i+2]))
			i += 2
			continue
		}
		out = append(out, b[i])
	}
	return out
}
