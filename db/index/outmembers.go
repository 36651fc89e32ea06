package index

import (
	"context"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// outMembers is the accounts of those links of a list in a run that are out, with the opposite sign: a set of all links
// and this one add up to the set of the links that are in.
type outMembers struct {
	horizon uint64
	set     *distinct.Set
}

// outMembersKey begins the keys under which runs cache outMembers. A list begins with a tag of package codec, so that
// no list begins with it.
const outMembersKey = "out"

// outSet returns the accounts of the links in a run that are out, to be added to those of all. The first request for a
// list reads these links, later ones those that a step of the horizon has added. Nil: an account's id doesn't fit a
// set.
func (l List) outSet(ctx context.Context, r lsm.Run) (*distinct.Set, error) {
	key := outMembersKey + string(l.Prefix)
	was := cachedOut(r, key)
	if was != nil && was.horizon == l.horizon {
		return was.set, nil
	}
	set := &distinct.Set{}
	from := horizonKey(l.Prefix, l.horizon)
	to := lsm.PrefixEnd(l.Prefix)
	if was != nil && was.horizon > 0 && was.horizon < l.horizon {
		to = horizonKey(l.Prefix, was.horizon)
	} else {
		was = nil
	}
	steps, err := addMembers(ctx, set, r, from, to, -1)
	if err != nil || steps < 0 {
		return nil, err
	}
	if was != nil {
		set.Merge(was.set) // it is never changed
	}
	keepOut(r, key, &outMembers{l.horizon, set})
	return set, nil
}

// cachedOut returns what keepOut has cached last; nil: nothing.
func cachedOut(r lsm.Run, key string) *outMembers {
	switch r := r.(type) {
	case *lsm.MemRun:
		if out, ok := r.Cache.Load(key); ok {
			return out.(*outMembers)
		}
	case *segment.Run:
		out, _ := r.Derived(key).(*outMembers)
		return out
	}
	return nil
}

// keepOut caches with a run. One in memory takes only what is far smaller than itself, as setOf does.
func keepOut(r lsm.Run, key string, out *outMembers) {
	switch r := r.(type) {
	case *lsm.MemRun:
		if out.set.Memory() < r.Memory()/8 {
			r.Cache.Store(key, out)
		}
	case *segment.Run:
		r.PutDerived(key, out, out.set.Memory()+64)
	}
}
