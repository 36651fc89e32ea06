package distinct

import "github.com/RoaringBitmap/roaring/v2"

// Base is the sum of sets whose members are counted with few further ones, many times: a count takes time by the
// further sets, not by the base. It does not change, and is safe for concurrent use.
type Base struct {
	sum     Set
	members *roaring.Bitmap // whose additions and removals differ
	n       uint64          // of them
}

// NewBase returns the sum of an older base, which may be nil, and of sets. None of them may change as long as the new
// base is used. As in Count, nothing is removed that was not added.
func NewBase(older *Base, sets ...*Set) *Base {
	b := &Base{}
	if older != nil {
		b.sum.Merge(&older.sum)
	}
	for _, s := range sets {
		b.sum.Merge(s)
	}
	added := b.sum.added.appendBitmaps(nil)
	removed := b.sum.removed.appendBitmaps(nil)
	b.members = union(added)
	if len(removed) > 0 {
		ever := union(removed)
		rest := b.sum.restrict(ever)
		b.members = roaring.Or(roaring.AndNot(b.members, ever), rest.differing())
	}
	b.n = b.members.GetCardinality()
	return b
}

// Count returns what Count returns for the sets of the base and further ones.
func (b *Base) Count(sets ...*Set) uint64 {
	var added, removed []*roaring.Bitmap
	for _, s := range sets {
		added = s.added.appendBitmaps(added)
		removed = s.removed.appendBitmaps(removed)
	}
	came := union(added)
	if len(removed) == 0 {
		return b.n + came.GetCardinality() - came.AndCardinality(b.members)
	}
	// A member without further removals counts if the base or a set has it. Only the others need their sums.
	ever := union(removed)
	came = roaring.AndNot(came, ever)
	rest := b.sum.restrict(ever)
	for _, s := range sets {
		part := s.restrict(ever)
		rest.Merge(&part)
	}
	return b.n - ever.AndCardinality(b.members) + came.GetCardinality() - came.AndCardinality(b.members) +
		rest.differing().GetCardinality()
}

// Members returns the members whose additions and removals differ. They must not be changed.
func (b *Base) Members() *roaring.Bitmap { return b.members }

// Memory returns the memory of the base in bytes.
func (b *Base) Memory() int { return b.sum.Memory() + int(b.members.GetSizeInBytes()) }
