// Package distinct counts the members of lists exactly, from parts. Each part has the number of additions and of
// removals of each member. Parts add up in any order. A member counts if it was added more often than it was removed.
package distinct

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// Set holds the number of additions and of removals of each member of a list. The zero Set is empty. It is safe for
// concurrent use only while it does not change.
type Set struct {
	added, removed counter
}

// counter is a bit-sliced number for each member: slice i holds the members whose number has bit i set. Most lists have
// each member once, and so one slice.
type counter []slice

// slice is a bitmap. A shared one belongs to another set too and is copied before it changes.
type slice struct {
	*roaring.Bitmap
	shared bool
}

// bit returns slice i, and creates it if it is missing.
func (c *counter) bit(i int) *slice {
	for len(*c) <= i {
		*c = append(*c, slice{Bitmap: roaring.New()})
	}
	return &(*c)[i]
}

// Add counts delta additions of a member, or -delta removals if delta is negative.
func (s *Set) Add(member uint32, delta int) {
	c := &s.added
	if delta < 0 {
		c = &s.removed
		delta = -delta
	}
	for bit := 0; delta > 0; bit++ {
		if delta&1 != 0 {
			c.add(bit, member)
		}
		delta >>= 1
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
		s.Remove(member) // the bit was set: clear it and carry
	}
}

// Merge adds all numbers of another set. The other set must not change as long as this one is used.
func (s *Set) Merge(o *Set) {
	s.added.merge(o.added)
	s.removed.merge(o.removed)
}

// merge adds two counters like a ripple-carry adder: bit by bit, for all members at once.
func (c *counter) merge(o counter) {
	var carry *roaring.Bitmap
	for bit := 0; bit < len(o) || carry != nil; bit++ {
		s := c.bit(bit)
		var next *roaring.Bitmap
		if bit < len(o) {
			next = s.sum(o[bit].Bitmap)
		}
		if carry != nil {
			// For any member, at most one of the two sums carries.
			more := s.sum(carry)
			switch {
			case next == nil:
				next = more
			case more != nil:
				next.Or(more)
			}
		}
		carry = next
	}
}

// sum sets s to the sum of s and b without the carry, which it returns; nil when there is none. It does not change b,
// and may keep it.
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

// Count returns the number of members whose additions and removals, summed over all sets, differ. Over a whole list
// nothing is removed that was not added, so that these are the remaining members. It changes no set.
func Count(sets ...*Set) uint64 {
	var added, removed []*roaring.Bitmap
	for _, s := range sets {
		added = s.added.appendBitmaps(added)
		removed = s.removed.appendBitmaps(removed)
	}
	if len(removed) == 0 {
		return unionSize(added)
	}
	all := union(added)
	// A member without removals counts if it was added at all. Only the others, mostly few, need their sums.
	ever := union(removed)
	var rest Set
	for _, s := range sets {
		part := s.restrict(ever)
		rest.Merge(&part)
	}
	return all.GetCardinality() - all.AndCardinality(ever) + rest.differing().GetCardinality()
}

func union(parts []*roaring.Bitmap) *roaring.Bitmap {
	if len(parts) == 1 {
		return parts[0]
	}
	return roaring.FastOr(parts...)
}

// unionSize returns the size of the union. It doesn't build the union with the largest part, which would take most of
// the time: that part is mostly a slice 0, and the others are slices of the few members with higher numbers.
func unionSize(parts []*roaring.Bitmap) uint64 {
	if len(parts) == 0 {
		return 0
	}
	slices.SortFunc(parts, func(a, b *roaring.Bitmap) int { return cmp.Compare(b.GetCardinality(), a.GetCardinality()) })
	return parts[0].OrCardinality(union(parts[1:]))
}

// appendBitmaps appends the slices that are not empty.
func (c counter) appendBitmaps(dst []*roaring.Bitmap) []*roaring.Bitmap {
	for _, s := range c {
		if !s.IsEmpty() {
			dst = append(dst, s.Bitmap)
		}
	}
	return dst
}

// restrict returns the counter of only the given members.
func (c counter) restrict(members *roaring.Bitmap) counter {
	out := make(counter, len(c))
	for i, s := range c {
		out[i] = slice{Bitmap: roaring.And(s.Bitmap, members)}
	}
	return out
}

// restrict returns the set of only the given members.
func (s *Set) restrict(members *roaring.Bitmap) Set {
	return Set{s.added.restrict(members), s.removed.restrict(members)}
}

// differing returns the members whose two numbers differ.
func (s *Set) differing() *roaring.Bitmap {
	var parts []*roaring.Bitmap
	for i := range max(len(s.added), len(s.removed)) {
		parts = append(parts, roaring.Xor(s.added.bit(i).Bitmap, s.removed.bit(i).Bitmap))
	}
	return roaring.FastOr(parts...)
}

// Singles reports whether nothing was removed, and returns the members, and those of them that were added more often
// than once. The bitmaps must not be changed.
func (s *Set) Singles() (all, repeated *roaring.Bitmap, ok bool) {
	if len(s.removed.appendBitmaps(nil)) > 0 {
		return nil, nil, false
	}
	parts := s.added.appendBitmaps(nil)
	all = union(parts)
	repeated = roaring.New()
	for i, b := range s.added {
		if i > 0 {
			repeated.Or(b.Bitmap)
		}
	}
	return all, repeated, true
}

// Additions returns how often the given members were added, together.
func (s *Set) Additions(members *roaring.Bitmap) (n uint64) {
	for i, b := range s.added {
		n += b.AndCardinality(members) << i
	}
	return n
}

// Count returns Count of this set alone.
func (s *Set) Count() uint64 { return Count(s) }

// Memory returns the memory of the set in bytes: about 2 per member, and at most 8 KiB for each 65,536 numbers of the
// range of members.
func (s *Set) Memory() int {
	n := uint64(0)
	for _, c := range []counter{s.added, s.removed} {
		for _, b := range c {
			n += b.GetSizeInBytes()
		}
	}
	return int(n)
}

// Equal reports whether two sets hold the same numbers.
func (s *Set) Equal(o *Set) bool { return s.added.equal(o.added) && s.removed.equal(o.removed) }

func (c counter) equal(o counter) bool {
	if len(c) < len(o) {
		return o.equal(c)
	}
	for i, s := range c {
		if i < len(o) && !s.Equals(o[i].Bitmap) || i >= len(o) && !s.IsEmpty() {
			return false
		}
	}
	return true
}

// maxSlices bounds the bits of a number in an encoded set: no run has 2^63 entries.
const maxSlices = 63

// Append encodes the set: the numbers of slices of the additions and of the removals in one byte each, then for each
// slice its length as a uvarint and a bitmap in Roaring's portable format.
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

// Parse decodes an encoded set. Any other input gives an error or a set that is safe to use.
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
			end := k + int(n)
			b, err := ParseBitmap(data[k:end])
			if err != nil {
				return nil, err
			}
			c[i] = slice{Bitmap: b}
			data = data[end:]
		}
	}
	if len(data) > 0 {
		return nil, errMalformed
	}
	return &Set{added: counters[0], removed: counters[1]}, nil
}
