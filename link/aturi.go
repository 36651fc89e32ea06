package link

import "strings"

// appendAtURI appends the normal form of the at-uri "at://" + rest. A DID as authority stays as it is; a handle is
// lower-cased and not resolved. The path loses empty segments, dot segments and a trailing slash, as the at-uri
// specification says. Any path is accepted, not only a collection and a record key.
func appendAtURI(dst []byte, rest string) ([]byte, bool) {
	rest, query, fragment := splitPath(rest)
	authority := rest
	path := ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority = rest[:i]
		path = rest[i:]
	}
	dst = append(dst, "at://"...)
	from := len(dst)
	switch {
	case strings.HasPrefix(authority, "did:"):
		if !ValidDID(authority) {
			return dst, false
		}
		dst = append(dst, authority...)
	case ValidHandle(authority):
		dst = append(dst, authority...)
		lower(dst[from:])
	default:
		return dst, false
	}
	from = len(dst)
	dst, ok := appendPart(dst, path, inPath|lax|iri)
	if !ok {
		return dst, false
	}
	dst = dst[:from+cleanSegments(dst[from:])]
	return appendTail(dst, query, fragment, inQuery|lax|iri)
}

// cleanSegments removes empty segments, "." segments, and each ".." with the segment before it from the path in b, in
// place. It returns the new length.
func cleanSegments(b []byte) int {
	w := 0
	for r := 0; r < len(b); {
		end := r + 1
		for end < len(b) && b[end] != '/' {
			end++
		}
		switch string(b[r+1 : end]) {
		case "", ".":
		case "..":
			w = parent(b[:w])
		default:
			if w == r {
				w = end // the usual case: nothing was removed so far
			} else {
				w += copy(b[w:], b[r:end])
			}
		}
		r = end
	}
	return w
}

// SplitRecord splits a normalised at-uri of the form "at://did", "at://did/collection" or "at://did/collection/rkey".
// Absent parts are "". ok is false for every other string: one with a handle, an invalid collection or record key,
// further segments, a query, a fragment or escapes.
func SplitRecord(uri string) (did, collection, rkey string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "at://")
	if !ok {
		return "", "", "", false
	}
	did, rest, more := strings.Cut(rest, "/")
	if !ValidDID(did) {
		return "", "", "", false
	}
	if !more {
		return did, "", "", true
	}
	collection, rkey, more = strings.Cut(rest, "/")
	if !ValidNSID(collection) || more && !ValidRecordKey(rkey) {
		return "", "", "", false
	}
	return did, collection, rkey, true
}
