// Package distinct counts the members of lists exactly, from parts: each part says how often each member was added to a
// list and how often it was taken away, parts add up in any order, and what is counted are the members that were added
// more often than taken away.
package distinct

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// Set holds, for each member of a list, a number of additions and a number of removals. The zero Set is empty. It is not
// safe for concurrent use while it changes; one that no longer changes may be read by many.
type Set struct {
	added, removed counter
}

// counter is a number for each member, in binary: slice i holds the members whose number has bit i set. Most lists have
// each member once, which leaves one slice.
type counter []slice

// slice is a bitmap that may be another set's, and is then copied before it changes.
type slice struct {
	*roaring.Bitmap
	shared bool
}

// bit is slice i, which is made when it is missing.
func (c *counter) bit(i int) *slice {
	for len(*c) <= i {
		*c = append(*c, slice{Bitmap: roaring.New()})
	}
	return &(*c)[i]
}

// Add counts weight additions of a member when weight is above 0, and so many removals when it is below.
func (s *Set) Add(member uint32, weight int) {
	c := &s.added
	if weight < 0 {
		c, weight = &s.removed, -weight
	}
	for bit := 0; weight > 0; bit++ {
		if weight&1 != 0 {
			c.add(bit, member)
		}
		weight >>= 1
	}
}

// add adds 1<<bit to a member's number.
func (c *counter) add(bit int, member uint32) {
	for ; ; bit++ {
		s := c.bit(bit)
		if s.shared {
			*s = slice{Bitmap: s.Clone()}
		}
		if s.CheckedAdd(member) {
			return
		}
		s.Remove(member) // 1 + 1 is 0, and 1 to carry
	}
}

// Merge adds all numbers of another set, which stays as it is, and must stay so as long as this one is used.
func (s *Set) Merge(o *Set) {
	s.added.merge(o.added)
	s.removed.merge(o.removed)
}

// merge adds two counters like an adder of hardware does: bit by bit, for all members at once.
func (c *counter) merge(o counter) {
	var carry *roaring.Bitmap
	for bit := 0; bit < len(o) || carry != nil; bit++ {
		s := c.bit(bit)
		var next *roaring.Bitmap
		if bit < len(o) {
			next = s.sum(o[bit].Bitmap)
		}
		if carry != nil {
			// At most one of the two sums carries for any member.
			if more := s.sum(carry); next == nil {
				next = more
			} else if more != nil {
				next.Or(more)
			}
		}
		carry = next
	}
}

// sum makes s the sum of both without the carry, which it returns, nil when there is none. It doesn't change b, and may
// keep it.
func (s *slice) sum(b *roaring.Bitmap) (carry *roaring.Bitmap) {
	if s.IsEmpty() {
		*s = slice{b, true}
		return nil
	}
	if s.Intersects(b) {
		carry = roaring.And(s.Bitmap, b)
	}
	switch {
	case carry != nil:
		*s = slice{Bitmap: roaring.Xor(s.Bitmap, b)}
	case s.shared:
		*s = slice{Bitmap: roaring.Or(s.Bitmap, b)}
	default:
		s.Or(b)
	}
	return carry
}

// Count is the number of members whose additions and removals, summed over all sets, differ. Over the whole of a list
// nothing is removed that was not added, so that these are the members that are left. It changes no set.
func Count(sets ...*Set) uint64 {
	var added, removed []*roaring.Bitmap
	for _, s := range sets {
		added, removed = s.added.bitmaps(added), s.removed.bitmaps(removed)
	}
	if len(removed) == 0 {
		return unionSize(added)
	}
	all := union(added)
	// Who was never removed counts when he was added at all. The sums need working out for the others alone: mostly few.
	ever := union(removed)
	var rest Set
	for _, s := range sets {
		rest.Merge(&Set{s.added.among(ever), s.removed.among(ever)})
	}
	return all.GetCardinality() - all.AndCardinality(ever) + rest.count()
}

func union(parts []*roaring.Bitmap) *roaring.Bitmap {
	if len(parts) == 1 {
		return parts[0]
	}
	return roaring.FastOr(parts...)
}

// unionSize doesn't make the union with the largest part, which would take most of the time: mostly that is a slice of
// ones, and the others are slices of the few members that come more than once.
func unionSize(parts []*roaring.Bitmap) uint64 {
	if len(parts) == 0 {
		return 0
	}
	slices.SortFunc(parts, func(a, b *roaring.Bitmap) int { return cmp.Compare(b.GetCardinality(), a.GetCardinality()) })
	return parts[0].OrCardinality(union(parts[1:]))
}

// bitmaps appends the slices that are not empty.
func (c counter) bitmaps(dst []*roaring.Bitmap) []*roaring.Bitmap {
	for _, s := range c {
		if !s.IsEmpty() {
			dst = append(dst, s.Bitmap)
		}
	}
	return dst
}

// among is the counter of some members alone.
func (c counter) among(members *roaring.Bitmap) counter {
	out := make(counter, len(c))
	for i, s := range c {
		out[i] = slice{Bitmap: roaring.And(s.Bitmap, members)}
	}
	return out
}

// count is the number of members whose two numbers differ in any bit.
func (s *Set) count() uint64 {
	var parts []*roaring.Bitmap
	for i := range max(len(s.added), len(s.removed)) {
		parts = append(parts, roaring.Xor(s.added.bit(i).Bitmap, s.removed.bit(i).Bitmap))
	}
	return roaring.FastOr(parts...).GetCardinality()
}

// Count is the number of members of one set alone, as the function Count has it.
func (s *Set) Count() uint64 { return Count(s) }

// Memory is what the set takes, in bytes; about 2 for each member and at most 8 KiB for each 65,536 numbers of the
// range that members lie in.
func (s *Set) Memory() int {
	n := uint64(0)
	for _, c := range []counter{s.added, s.removed} {
		for _, b := range c {
			n += b.GetSizeInBytes()
		}
	}
	return int(n)
}

// Equal says whether two sets hold the same numbers.
func (s *Set) Equal(o *Set) bool { return s.added.equal(o.added) && s.removed.equal(o.removed) }

func (c counter) equal(o counter) bool {
	for bit := range max(len(c), len(o)) {
		switch {
		case bit >= len(c):
			if !o[bit].IsEmpty() {
				return false
			}
		case bit >= len(o):
			if !c[bit].IsEmpty() {
				return false
			}
		case !c[bit].Equals(o[bit].Bitmap):
			return false
		}
	}
	return true
}

// maxSlices bounds the bits of a number in an encoded set: no run has 2^63 entries.
const maxSlices = 63

// Append encodes the set: the number of slices of the additions and of the removals in a byte each, then of each slice
// its length as a uvarint and a bitmap in the portable format of Roaring.
func (s *Set) Append(dst []byte) ([]byte, error) {
	dst = append(dst, byte(len(s.added)), byte(len(s.removed)))
	for _, c := range []counter{s.added, s.removed} {
		for _, b := range c {
			if !b.shared {
				b.RunOptimize()
			}
			data, err := b.ToBytes()
			if err != nil {
				return nil, fmt.Errorf("encode set: %w", err)
			}
			dst = append(binary.AppendUvarint(dst, uint64(len(data))), data...)
		}
	}
	return dst, nil
}

// Parse decodes what Append encoded. Anything else is an error, or a set that can be used without harm.
func Parse(data []byte) (*Set, error) {
	if len(data) < 2 || data[0] > maxSlices || data[1] > maxSlices {
		return nil, errMalformed
	}
	counters := [2]counter{make(counter, data[0]), make(counter, data[1])}
	data = data[2:]
	for _, c := range counters {
		for i := range c {
			n, k := binary.Uvarint(data)
			if k <= 0 || n > uint64(len(data)-k) {
				return nil, errMalformed
			}
			b, err := ParseBitmap(data[k : k+int(n)])
			if err != nil {
				return nil, err
			}
			c[i], data = slice{Bitmap: b}, data[k+int(n):]
		}
	}
	if len(data) > 0 {
		return nil, errMalformed
	}
	return &Set{added: counters[0], removed: counters[1]}, nil
}
