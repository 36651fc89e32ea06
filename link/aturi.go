package link

import "strings"

// appendAtURI appends the normal form of the at-uri "at://" + rest. The authority is a DID, verbatim, or a handle, in
// lower case and not resolved. The path has no empty segments, dot segments or slash at its end (the at-uri
// specification's normalisation). It needn't be a collection and a record key.
func appendAtURI(dst []byte, rest string) ([]byte, bool) {
	rest, query, fragment := cut(rest)
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	dst = append(dst, "at://"...)
	from := len(dst)
	switch {
	case ValidDID(authority):
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

// cleanSegments removes from the path in b, in place, the segments that are empty or ".", and each ".." with the
// segment before it. It returns the new length.
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
				w = end // nothing removed so far, the usual case
			} else {
				w += copy(b[w:], b[r:end])
			}
		}
		r = end
	}
	return w
}

// SplitRecord splits a normalised at-uri with a DID as its authority, which is one of "at://did", "at://did/collection"
// and "at://did/collection/rkey". Parts that are absent are "". ok is false for every other string: the authority is a
// handle, the collection isn't an NSID, the record key isn't one, or there is more (segments, a query, a fragment,
// escapes).
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
