package codec

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// RecordKey appends the key of a record.
func RecordKey(dst []byte, account, collection uint64, rkey []byte) []byte {
	return append(AppendID(AppendID(dst, account), collection), rkey...)
}

// DecodeRecordKey decodes the key of a record; rkey is still encoded.
func DecodeRecordKey(key []byte) (account, collection uint64, rkey []byte, err error) {
	account, key, err = DecodeID(key)
	if err != nil {
		return 0, 0, nil, err
	}
	collection, key, err = DecodeID(key)
	if err != nil {
		return 0, 0, nil, err
	}
	rkey, _, err = DecodeRkey(key)
	return account, collection, rkey, err
}

// RevisionKey appends the key of an account's newest revision. It sorts before the account's records: no collection has
// the id 0.
func RevisionKey(dst []byte, account uint64) []byte { return append(AppendID(dst, account), 0) }

// IsRevisionKey reports whether a key by record is one of RevisionKey.
func IsRevisionKey(key []byte) bool {
	_, rest, err := DecodeID(key)
	return err == nil && len(rest) == 1 && rest[0] == 0
}

// AccountRecords returns the range of the keys of an account's records, without its revision.
func AccountRecords(account uint64) (from, to []byte) {
	return append(AppendID(nil, account), 1), append(AppendID(nil, account), 0xff)
}

// RecordLink is a link in the value of its record.
type RecordLink struct {
	Source  uint64
	Target  []byte // encoded
	Rank    uint64
	Derived bool // the rank is the TID's
}

// CompareLinks orders links by source and target.
func CompareLinks(a, b RecordLink) int {
	if c := cmp.Compare(a.Source, b.Source); c != 0 {
		return c
	}
	return bytes.Compare(a.Target, b.Target)
}

// AppendLinks encodes ordered links: of each its source, then 0 where the rank is the TID's, else 1 and the rank in 8
// bytes, then its target.
func AppendLinks(dst []byte, links []RecordLink) []byte {
	for _, l := range links {
		dst = AppendID(dst, l.Source)
		if l.Derived {
			dst = append(dst, 0)
		} else {
			dst = binary.BigEndian.AppendUint64(append(dst, 1), l.Rank)
		}
		dst = append(dst, l.Target...)
	}
	return dst
}

// AppendBodyRef ends a record's value with the log row that brought its body; 0: none. No source has the id 0, which
// marks the end of the links.
func AppendBodyRef(dst []byte, seq uint64) []byte {
	if seq == 0 {
		return dst
	}
	return AppendID(append(dst, 0), seq)
}

// BodyRef returns the log row that brought the body of a record with this value; 0: none.
func BodyRef(value []byte) uint64 {
	for len(value) > 0 {
		source, rest, err := DecodeID(value)
		if err != nil {
			return 0
		}
		if source == 0 {
			seq, _, _ := DecodeID(rest)
			return seq
		}
		skip := 1
		if len(rest) > 0 && rest[0] != 0 {
			skip += 8
		}
		if len(rest) < skip {
			return 0
		}
		n := TargetLen(rest[skip:])
		if n == 0 {
			return 0
		}
		value = rest[skip+n:]
	}
	return 0
}

// DecodeLinks decodes a record's links, appending to dst; the targets alias value. rkey gives the derived ranks.
// BodyRef reads the rest of the value.
func DecodeLinks(dst []RecordLink, value, rkey []byte) ([]RecordLink, error) {
	for len(value) > 0 {
		source, rest, err := DecodeID(value)
		if err != nil || len(rest) == 0 {
			return dst, ErrMalformed
		}
		if source == 0 {
			seq, rest, err := DecodeID(rest)
			if err != nil || len(rest) > 0 || seq == 0 || len(dst) == 0 {
				return dst, ErrMalformed
			}
			return dst, nil
		}
		l := RecordLink{Source: source, Derived: rest[0] == 0}
		rest = rest[1:]
		switch {
		case l.Derived:
			l.Rank, _ = TIDRank(rkey)
		case len(rest) < 8:
			return dst, ErrMalformed
		default:
			l.Rank = binary.BigEndian.Uint64(rest)
			rest = rest[8:]
		}
		n := TargetLen(rest)
		if n == 0 {
			return dst, ErrMalformed
		}
		l.Target = rest[:n:n]
		value = rest[n:]
		dst = append(dst, l)
	}
	return dst, nil
}

// CutLinks returns a record's value without the links that out reports, by source and rank: the value itself where all
// stay, and nil where none does.
func CutLinks(value, rkey []byte, out func(source, rank uint64) bool) ([]byte, error) {
	cut := false
	links := 0
	var kept []byte
	for at := 0; at < len(value); {
		source, rest, err := DecodeID(value[at:])
		if err != nil || len(rest) == 0 {
			return nil, ErrMalformed
		}
		if source == 0 { // the body
			if cut {
				kept = append(kept, value[at:]...)
			}
			break
		}
		rank, _ := TIDRank(rkey)
		skip := 1
		if rest[0] != 0 {
			skip = 9
			if len(rest) < skip {
				return nil, ErrMalformed
			}
			rank = binary.BigEndian.Uint64(rest[1:])
		}
		n := TargetLen(rest[min(skip, len(rest)):])
		if n == 0 {
			return nil, ErrMalformed
		}
		end := len(value) - len(rest) + skip + n
		switch {
		case !out(source, rank):
			links++
			if cut {
				kept = append(kept, value[at:end]...)
			}
		case !cut:
			cut = true
			kept = append(make([]byte, 0, len(value)), value[:at]...)
		}
		at = end
	}
	switch {
	case !cut:
		return value, nil
	case links == 0:
		return nil, nil
	}
	return kept, nil
}

// DiffLinks appends the links that a record lost and gained to removed and added. In next, which it changes in place,
// the links that stay get the rank that they had. All are in order.
func DiffLinks(removed, added, old, next []RecordLink) (lost, gained []RecordLink) {
	for i, j := 0, 0; i < len(old) || j < len(next); {
		c := 0
		switch {
		case i == len(old):
			c = 1
		case j == len(next):
			c = -1
		default:
			c = CompareLinks(old[i], next[j])
		}
		switch {
		case c < 0:
			removed = append(removed, old[i])
			i++
		case c > 0:
			added = append(added, next[j])
			j++
		default:
			next[j].Rank = old[i].Rank
			next[j].Derived = old[i].Derived
			i++
			j++
		}
	}
	return removed, added
}

// SortLinks orders links and removes duplicates.
func SortLinks(links []RecordLink) []RecordLink {
	slices.SortFunc(links, CompareLinks)
	return slices.CompactFunc(links, func(a, b RecordLink) bool { return CompareLinks(a, b) == 0 })
}
