package index

import (
	"context"
	"math"

	"github.com/RoaringBitmap/roaring/v2"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// setCost is the cost of finding a link of an account whose links are found already, in the unit of accountCost: a
// look-up in a run or two.
const setCost = 100

// setBytes is how many bytes of a set take as long to read as an entry of a list.
const setBytes = 128

// addBySet is add for a run of a segment that has the set of the list's accounts and removes nothing from the list. It
// reads no entry: all of them are links. Where an account has one link in the run and none in the runs before, that
// link is its first, and its only one. The first links of the other accounts are looked up by resolve, if they are few:
// until then they are unresolved, with all of their links in the run marked. done is false where reading the entries
// costs less.
func (m *firstMarks) addBySet(ctx context.Context, l List, r lsm.Run, start, n int64) (done bool, err error) {
	run, ok := r.(*segment.Run)
	if !ok || n == 0 || n > math.MaxUint32 {
		return false, nil
	}
	set, has, err := run.Distinct(l.Prefix)
	if !has || err != nil {
		return false, err
	}
	all, repeated, ok := set.Singles()
	if !ok {
		return false, nil
	}
	others := roaring.Or(repeated, roaring.And(all, m.accounts))
	for account := range m.unresolved {
		if all.Contains(account) {
			others.Add(account)
		}
	}
	cost := int64(others.GetCardinality())*accountCost + int64(set.Additions(others))*setCost
	if cost > n/2 && !l.eagerSets {
		return false, nil
	}
	all, ok, err = l.withoutOut(ctx, r, set, all, n)
	if !ok || err != nil {
		return false, err
	}
	err = l.read(cost + int64(all.GetSizeInBytes()/setBytes))
	if err != nil {
		return false, err
	}
	first := roaring.New()
	first.AddRange(0, uint64(n))
	m.runs = append(m.runs, r.ID())
	m.parts = append(m.parts, markPart{run: r, start: start, first: first})
	m.accounts.Or(all)
	m.repeaters.Or(others)
	for i := others.Iterator(); i.HasNext(); {
		m.unresolved[i.Next()] = true
	}
	return true, nil
}

// withoutOut returns the accounts of the links of a run that are not out: n of them are not. ok is false where an
// account's id doesn't fit a set, or where the set is not of these links.
func (l List) withoutOut(ctx context.Context, r lsm.Run, set *distinct.Set, all *roaring.Bitmap, n int64) (
	in *roaring.Bitmap, ok bool, err error,
) {
	if int64(set.Additions(all)) == n {
		return all, true, nil
	}
	if l.horizon == 0 {
		return nil, false, nil
	}
	out, err := l.outSet(ctx, r)
	if out == nil || err != nil {
		return nil, false, err
	}
	return distinct.NewBase(nil, set, out).Members(), true, nil
}
