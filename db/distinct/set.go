// Package distinct counts the members of lists exactly, from parts: each part says how often each member was added to a
// list and how often it was taken away, parts add up in any order, and what is counted are the members that were added
// more often than taken away.
package distinct

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

// Set holds, for each member of a list, a number of additions and a number of removals. The zero Set is empty. It is not
// safe for concurrent use while it changes; one that no longer changes may be read by many.
type Set struct {
	added, removed counter
}

// counter is a number for each member, in binary: slice i holds the members whose number has bit i set. Most lists have
// each member once, which leaves one slice.
type counter []*roaring.Bitmap

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
		for len(*c) <= bit {
			*c = append(*c, roaring.New())
		}
		if (*c)[bit].CheckedAdd(member) {
			return
		}
		(*c)[bit].Remove(member) // 1 + 1 is 0, and 1 to carry
	}
}

// Merge adds all numbers of another set, which stays as it is.
func (s *Set) Merge(o *Set) {
	s.added.merge(o.added)
	s.removed.merge(o.removed)
}

// merge adds two counters like an adder of hardware does: bit by bit, for all members at once.
func (c *counter) merge(o counter) {
	var carry *roaring.Bitmap
	for bit := 0; bit < len(o) || carry != nil; bit++ {
		for len(*c) <= bit {
			*c = append(*c, roaring.New())
		}
		next := roaring.New()
		if bit < len(o) {
			next = sum(&(*c)[bit], o[bit])
		}
		if carry != nil {
			next.Or(sum(&(*c)[bit], carry))
		}
		if carry = next; carry.IsEmpty() {
			carry = nil
		}
	}
}

// sum makes *a the sum of both without the carry, which it returns. It never changes b.
func sum(a **roaring.Bitmap, b *roaring.Bitmap) (carry *roaring.Bitmap) {
	if (*a).IsEmpty() {
		*a = b.Clone()
		return roaring.New()
	}
	carry = roaring.And(*a, b)
	(*a).Xor(b)
	return carry
}

// Count is the number of members whose additions and removals differ. Over the whole of a list nothing is removed that
// was not added, so that these are the members that are left.
func (s *Set) Count() uint64 {
	a, r := s.added, s.removed
	if len(a) < len(r) {
		a, r = r, a
	}
	var parts []*roaring.Bitmap
	for bit := range a {
		switch {
		case bit >= len(r):
			parts = append(parts, a[bit])
		case !r[bit].IsEmpty():
			parts = append(parts, roaring.Xor(a[bit], r[bit]))
		default:
			parts = append(parts, a[bit])
		}
	}
	switch len(parts) {
	case 0:
		return 0
	case 1:
		return parts[0].GetCardinality()
	}
	return roaring.FastOr(parts...).GetCardinality()
}

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
		case !c[bit].Equals(o[bit]):
			return false
		}
	}
	return true
}

// maxSlices bounds the bits of a number in an encoded set: no run has 2^63 entries.
const maxSlices = 63

var errMalformed = errors.New("malformed set")

// Append encodes the set: the number of slices of the additions and of the removals in a byte each, then of each slice
// its length as a uvarint and a bitmap in the portable format of Roaring.
func (s *Set) Append(dst []byte) ([]byte, error) {
	dst = append(dst, byte(len(s.added)), byte(len(s.removed)))
	for _, c := range []counter{s.added, s.removed} {
		for _, b := range c {
			b.RunOptimize()
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
			c[i], data = b, data[k+int(n):]
		}
	}
	if len(data) > 0 {
		return nil, errMalformed
	}
	return &Set{added: counters[0], removed: counters[1]}, nil
}

// ParseBitmap decodes a bitmap in the portable format of Roaring, all of data, and checks that it is well formed.
func ParseBitmap(data []byte) (*roaring.Bitmap, error) {
	// ReadFrom copies, where FromBuffer would leave marks in the bitmap that later reads of it change: many may read.
	b := roaring.New()
	n, err := b.ReadFrom(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if n != int64(len(data)) {
		return nil, errMalformed
	}
	if n == 8 { // the header of an empty bitmap, which Validate takes for a fault
		return b, nil
	}
	if err := b.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return b, nil
}
