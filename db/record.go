package db

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// recordKey is where a record stands in the order by record.
func recordKey(dst []byte, actor, collection uint64, rkey []byte) []byte {
	return append(appendID(appendID(dst, actor), collection), rkey...)
}

// cutRecordKey reads what recordKey wrote.
func cutRecordKey(key []byte) (actor, collection uint64, rkey []byte, err error) {
	if actor, key, err = cutID(key); err != nil {
		return
	}
	if collection, key, err = cutID(key); err != nil {
		return
	}
	rkey, _, err = cutRkey(key)
	return
}

// revKey is where an account's newest revision stands: below its records, for the id 0 is no collection.
func revKey(dst []byte, actor uint64) []byte { return append(appendID(dst, actor), 0) }

// isRevKey reports whether a key of the order by record is one of revKey.
func isRevKey(key []byte) bool {
	_, rest, err := cutID(key)
	return err == nil && len(rest) == 1 && rest[0] == 0
}

// recordsOf is the range of keys that holds an account's records, its revision left out.
func recordsOf(actor uint64) (from, to []byte) {
	prefix := appendID(nil, actor)
	return append(prefix, 1), append(appendID(nil, actor), 0xff)
}

// recordLink is a link as its record holds it.
type recordLink struct {
	source  uint64
	target  []byte // encoded
	rank    uint64
	derived bool // the rank is the TID's
}

func compareLinks(a, b recordLink) int {
	if c := cmp.Compare(a.source, b.source); c != 0 {
		return c
	}
	return bytes.Compare(a.target, b.target)
}

// appendLinks encodes links, which are in order: of each its source, 0 where the rank is the TID's or else 1 and the
// rank in 8 bytes, and its target.
func appendLinks(dst []byte, links []recordLink) []byte {
	for _, l := range links {
		dst = appendID(dst, l.source)
		if l.derived {
			dst = append(dst, 0)
		} else {
			dst = binary.BigEndian.AppendUint64(append(dst, 1), l.rank)
		}
		dst = append(dst, l.target...)
	}
	return dst
}

// appendBodyRef ends a record's value with the log row that brought its body; 0: none. No source has the id 0, so that it
// tells where the links end.
func appendBodyRef(dst []byte, seq uint64) []byte {
	if seq == 0 {
		return dst
	}
	return appendID(append(dst, 0), seq)
}

// bodyRef is the log row that a record's value ends with; 0: none.
func bodyRef(value []byte) uint64 {
	for len(value) > 0 {
		source, rest, err := cutID(value)
		if err != nil {
			return 0
		}
		if source == 0 {
			seq, _, _ := cutID(rest)
			return seq
		}
		skip := 1
		if len(rest) > 0 && rest[0] != 0 {
			skip += 8
		}
		if len(rest) < skip {
			return 0
		}
		n := targetLen(rest[skip:])
		if n == 0 {
			return 0
		}
		value = rest[skip+n:]
	}
	return 0
}

// cutLinks decodes a record's links, appending to dst; the targets alias value. rkey gives the derived ranks. What may
// follow them is for bodyRef.
func cutLinks(dst []recordLink, value, rkey []byte) ([]recordLink, error) {
	for len(value) > 0 {
		source, rest, err := cutID(value)
		if err != nil || len(rest) == 0 {
			return dst, errKey
		}
		if source == 0 {
			if seq, rest, err := cutID(rest); err != nil || len(rest) > 0 || seq == 0 || len(dst) == 0 {
				return dst, errKey
			}
			return dst, nil
		}
		l := recordLink{source: source, derived: rest[0] == 0}
		if rest = rest[1:]; l.derived {
			l.rank, _ = tidRank(rkey)
		} else if len(rest) < 8 {
			return dst, errKey
		} else {
			l.rank, rest = binary.BigEndian.Uint64(rest), rest[8:]
		}
		n := targetLen(rest)
		if n == 0 {
			return dst, errKey
		}
		l.target, value = rest[:n:n], rest[n:]
		dst = append(dst, l)
	}
	return dst, nil
}

// diff tells which links a record lost and gained, and gives what it has now: the kept ones with the rank that they
// had. All are in order; next is changed in place.
func diff(old, next []recordLink) (removed, added []recordLink) {
	for i, j := 0, 0; i < len(old) || j < len(next); {
		c := 0
		switch {
		case i == len(old):
			c = 1
		case j == len(next):
			c = -1
		default:
			c = compareLinks(old[i], next[j])
		}
		switch {
		case c < 0:
			removed = append(removed, old[i])
			i++
		case c > 0:
			added = append(added, next[j])
			j++
		default:
			next[j].rank, next[j].derived = old[i].rank, old[i].derived
			i++
			j++
		}
	}
	return removed, added
}

// sortLinks orders links and drops repeats.
func sortLinks(links []recordLink) []recordLink {
	slices.SortFunc(links, compareLinks)
	return slices.CompactFunc(links, func(a, b recordLink) bool { return compareLinks(a, b) == 0 })
}
