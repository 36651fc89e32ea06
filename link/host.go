package link

import (
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// domains maps hosts by UTS 46 and the WHATWG URL standard ("domain to ASCII", not strict): nontransitional, with the
// rules for joiners and for right-to-left text. Names with an underscore or with "--" exist and are accepted.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false),
	idna.CheckHyphens(false))

// maxDomain is the maximum length of a mapped host, in bytes of UTF-8. A domain name has at most 253 bytes in ASCII,
// and a Punycode label at most 59 characters of 4 bytes each. The limit bounds the cost, which is quadratic in the
// length.
const maxDomain = 1 << 10

// appendWebHost appends the host of an http or https URI, which is not an address in brackets. It maps a host with
// non-ASCII characters or escapes to ASCII (Punycode). A host that UTS 46 rejects is normalised like that of other
// URIs.
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
		// UTS 46 maps fullwidth slashes and question marks to ASCII ones, which would end the host. Escapes may hold
		// them too.
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

// unescape decodes the percent escapes of b once. They must be well-formed.
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
