package link

import (
	"net/netip"
	"strings"
)

// appendURI appends the normal form of the URI scheme:rest: RFC 3986 with the extensions of appendPart. rest is not
// empty. For http and https it drops the default port and turns an empty path into "/" (RFC 3986, section 6.2.3). For
// other schemes it drops only the colon of an empty port. Empty queries and empty fragments stay.
func appendURI(dst []byte, scheme, rest string) ([]byte, bool) {
	from := len(dst)
	dst = append(dst, scheme...)
	lower(dst[from:])
	port := defaultPort(dst[from:])
	web := port != ""
	dst = append(dst, ':')

	var extra uint16
	authority := strings.HasPrefix(rest, "//")
	if authority {
		// A string with an authority is meant as a URI, and "?a[]=1" is common in URIs. A string without one may be
		// prose or markup ("note:<b>", "Q:なんで"): RFC 3986 applies strictly.
		extra = lax | iri
		end := 2
		for end < len(rest) && rest[end] != '/' && rest[end] != '?' && rest[end] != '#' {
			end++
		}
		var ok bool
		dst, ok = appendAuthority(append(dst, "//"...), rest[2:end], port)
		if !ok {
			return dst, false
		}
		rest = rest[end:]
	} else if web {
		return dst, false // RFC 9110, section 4.2: an http URI has an authority
	}

	path, query, fragment := splitPath(rest)
	if web && path == "" {
		path = "/"
	}
	start := len(dst)
	dst, ok := appendPart(dst, path, inPath|extra)
	if !ok {
		return dst, false
	}
	// A path without a leading slash is opaque (mailto:, urn:): its dots stay.
	if strings.HasPrefix(path, "/") {
		dst = dst[:start+removeDots(dst[start:])]
		if !authority && len(dst) > start+1 && dst[start+1] == '/' {
			// "x:/.//y", not "x://y", in which y would be an authority (RFC 3986, section 3.3; so does WHATWG URL).
			dst = append(dst, "/."...)
			copy(dst[start+2:], dst[start:len(dst)-2])
			dst[start] = '/'
			dst[start+1] = '.'
		}
	}
	return appendTail(dst, query, fragment, inQuery|extra)
}

// splitPath splits the part of a URI after its authority into the path, the query with its question mark and the
// fragment with its number sign.
func splitPath(s string) (path, query, fragment string) {
	if i := strings.IndexByte(s, '#'); i >= 0 {
		fragment = s[i:]
		s = s[:i]
	}
	if i := strings.IndexByte(s, '?'); i >= 0 {
		query = s[i:]
		s = s[:i]
	}
	return s, query, fragment
}

// appendTail appends the query and the fragment as splitPath returned them.
func appendTail(dst []byte, query, fragment string, allowed uint16) ([]byte, bool) {
	ok := true
	if query != "" {
		dst, ok = appendPart(append(dst, '?'), query[1:], allowed)
		if !ok {
			return dst, false
		}
	}
	if fragment != "" {
		dst, ok = appendPart(append(dst, '#'), fragment[1:], allowed)
	}
	return dst, ok
}

// defaultPort returns the default port of http and https, and "" for every other scheme.
func defaultPort(scheme []byte) string {
	switch string(scheme) {
	case "http":
		return "80"
	case "https":
		return "443"
	default:
		return ""
	}
}

// appendAuthority appends [userinfo@]host[:port] with the host in lower case and an IPv6 address in netip's form of
// RFC 5952. It drops defaultPort, which is "" for schemes other than http and https. Only those two need a host.
func appendAuthority(dst []byte, s, defaultPort string) ([]byte, bool) {
	var ok bool
	if i := strings.IndexByte(s, '@'); i >= 0 {
		dst, ok = appendPart(dst, s[:i], inUserinfo)
		if !ok {
			return dst, false
		}
		dst = append(dst, '@')
		s = s[i+1:]
	}
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return dst, false
		}
		host = s[:end+1]
		port = s[end+1:]
		if port != "" && port[0] != ':' {
			return dst, false
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host = s[:i]
		port = s[i:]
	}
	web := defaultPort != ""
	if web && host == "" {
		return dst, false
	}
	dst, ok = appendHost(dst, host, web)
	if !ok {
		return dst, false
	}
	for i := 1; i < len(port); i++ {
		if port[i] < '0' || port[i] > '9' {
			return dst, false
		}
	}
	if len(port) > 1 && port[1:] != defaultPort {
		dst = append(dst, port...)
	}
	return dst, true
}

func appendHost(dst []byte, host string, web bool) ([]byte, bool) {
	from := len(dst)
	ok := true
	switch {
	case !strings.HasPrefix(host, "[") && web:
		return appendWebHost(dst, host)
	case !strings.HasPrefix(host, "["):
		dst, ok = appendPart(dst, host, inHost)
		lower(dst[from:])
	case len(host) > 2 && host[1]|0x20 == 'v':
		// "[v" hex digits "." characters "]" is an address of a future version. It has no escapes.
		version, address, _ := strings.Cut(host[2:len(host)-1], ".")
		if version == "" || address == "" {
			return dst, false
		}
		for i := range len(version) {
			ok = ok && unhex(version[i]) < 16
		}
		for i := range len(address) {
			ok = ok && class[address[i]]&inUserinfo != 0
		}
		dst = append(dst, host...)
		lower(dst[from:])
	default:
		address, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !address.Is6() || address.Zone() != "" {
			return dst, false // a zone is local to one machine
		}
		dst = append(address.AppendTo(append(dst, '[')), ']')
	}
	return dst, ok
}

// removeDots removes the segments "." and ".." from the absolute path in b, in place (RFC 3986, section 5.2.4). It
// returns the new length.
func removeDots(b []byte) int {
	w := 0
	for r := 0; r < len(b); {
		end := r + 1
		for end < len(b) && b[end] != '/' {
			end++
		}
		switch last := end == len(b); string(b[r+1 : end]) {
		case ".":
			if last {
				b[w] = '/'
				w++
			}
		case "..":
			w = parent(b[:w])
			if last {
				b[w] = '/'
				w++
			}
		default:
			w += copy(b[w:], b[r:end])
		}
		r = end
	}
	return w
}

// parent returns the length of the path in b without its last segment and the slash before it.
func parent(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '/' {
			return i
		}
	}
	return 0
}
