package index

import (
	"bytes"
	"context"
	"runtime"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// List is the links to one target from one source, in one snapshot.
type List struct {
	v        *Snapshot
	Prefix   []byte // target and source
	from, to []byte // the range of its keys that are not out, or of those within a span of time
	part     bool   // it is a span
	horizon  uint64 // links of an earlier rank are out; 0: none is

	collection uint64     // of its source; 0: not looked up
	eagerSets  bool       // addBySet is not left for its cost
	walk       *walkBound // what a query may read of it
}

// list looks a list up; ok is false when the index has never seen its target or its source.
func (v *Snapshot) list(target string, source Source) (l List, ok bool, err error) {
	key, ok, err := v.TargetKey(target)
	if !ok || err != nil {
		return l, false, err
	}
	id, collection, ok, err := v.sourceID(source)
	l = v.ListOf(codec.AppendID(key, id))
	l.collection = collection
	return l, ok, err
}

// ListOf returns the list of an encoded target and source.
func (v *Snapshot) ListOf(prefix []byte) List {
	l := List{v: v, Prefix: prefix, from: prefix}
	if v.Horizons.Newest() > 0 {
		l.horizon = v.Horizons.Of(sourceOf(prefix))
	}
	l.to = horizonKey(prefix, l.horizon)
	return l
}

// within returns the part of the list from one time to before another, in microseconds since 1970; 0: no bound.
func (l List) within(since, until int64) List {
	if since > 0 && uint64(since) > l.horizon {
		l.part, l.to = true, lsm.PrefixEnd(append(bytes.Clone(l.Prefix), codec.RankPrefix(uint64(since))...))
	}
	if until > 0 {
		l.part, l.from = true, append(bytes.Clone(l.Prefix), codec.RankPrefix(uint64(until-1))...)
	}
	if l.to != nil && bytes.Compare(l.from, l.to) > 0 {
		l.from = l.to // all of it is out, or it ends before it begins
	}
	return l
}

// Total counts the links, from the runs' sums.
func (l List) Total() (int64, error) {
	if l.part || l.v.sums == nil {
		return l.between(l.from, l.to)
	}
	inSegments, err := l.inSegments()
	if err != nil {
		return 0, err
	}
	inMemory, err := l.sum(l.v.Targets.Runs[len(l.v.Files.Files):], l.from, l.to)
	return inSegments + inMemory, err
}

// below sums up the entries before a key in all runs that have the list. The difference of two such sums is the number
// of links between the keys.
func (l List) below(key []byte) (int64, error) {
	var sum int64
	hash := ByTarget.Hash(l.Prefix)
	for _, r := range l.v.Targets.Runs {
		if !r.MayContain(hash, l.Prefix) {
			continue
		}
		n, err := r.Sum(nil, key)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

const (
	// deadInRow is after how many entries of removed links in a row the sums are asked where the next link is: that
	// costs as much as some thousand steps.
	deadInRow = 4096
	// hiddenInPage is how many links of hidden accounts a page steps over, some 50 ms. Then it ends early, with a
	// cursor.
	hiddenInPage = 50_000
)

// usualList is the number of links that a page has room for from the start.
const usualList = 24

// page returns the links after a position, and the position of the next page. It may be shorter than limit where many
// links are about to be hidden.
func (l List) page(ctx context.Context, after []byte, limit int, reverse bool) (found []codec.ListPosition, next []byte,
	err error) {
	if err := checkPosition(after); err != nil {
		return nil, nil, err
	}
	found = make([]codec.ListPosition, 0, min(limit, usualList))
	hidden := 0
	for sc := l.scan(ctx, after, reverse).LimitTombstones(deadInRow); ; {
		if !sc.Next() {
			if sc.Err() != nil || !sc.LimitReached() {
				return found, nil, sc.Err()
			}
			rest, err := l.behindRemoved(ctx, sc.Key(), reverse)
			if err != nil || rest == nil {
				return found, nil, err
			}
			sc = rest
			continue
		}
		p, err := l.Position(sc)
		if err != nil {
			return nil, nil, err
		}
		if l.v.hides(p.AccountID) {
			hidden++
			if hidden == hiddenInPage {
				return found, p.Append(nil), nil
			}
			continue
		}
		if len(found) == limit {
			return found, found[limit-1].Append(nil), nil
		}
		found = append(found, p)
	}
}

// between sums up the links with from <= key < to.
func (l List) between(from, to []byte) (int64, error) {
	if to != nil && bytes.Compare(from, to) >= 0 {
		return 0, nil
	}
	return l.sum(l.v.Targets.Runs, from, to)
}

func minKey(a, b []byte) []byte {
	if b != nil && bytes.Compare(b, a) < 0 {
		return b
	}
	return a
}

func maxKey(a, b []byte) []byte {
	if bytes.Compare(b, a) > 0 {
		return b
	}
	return a
}

// filtered returns a page of the links of some accounts, and how many links these have in all.
func (l List) filtered(ctx context.Context, wanted map[uint64]struct{}, after []byte, limit int, reverse bool) (
	total int64, found []codec.ListPosition, next []byte, err error,
) {
	if err := checkPosition(after); err != nil {
		return 0, nil, nil, err
	}
	err = l.visit(ctx, wanted, nil, reverse, func(p codec.ListPosition, at []byte) (bool, error) {
		total++
		if after != nil {
			if c := slices.Compare(at, after); c == 0 || c < 0 != reverse {
				return true, nil
			}
		}
		if len(found) < limit {
			found = append(found, p)
		} else if next == nil {
			next = found[limit-1].Append(nil)
		}
		return true, nil
	})
	return total, found, next, err
}

// ShortList is the longest list that is counted by iteration, unless CoreConfig has another one: that is faster than
// sets.
const ShortList = 500

// count counts the links, and the accounts that link.
func (l List) count(ctx context.Context, core *Core) (c PairCount, err error) {
	c.Links, err = l.Total()
	if err != nil {
		return c, err
	}
	c.DIDs, err = l.distinctOf(ctx, core, c.Links)
	return c, err
}

// distinct counts the accounts that link. It counts the links only of a list of middle length: those of a short list
// are read, and a long one was asked for before.
func (l List) distinct(ctx context.Context, core *Core) (int64, error) {
	if core.Blocks.Derived(membersKey+string(l.Prefix)) != nil {
		n, ok, err := l.distinctBySets(ctx, core)
		if ok || err != nil {
			return n, err
		}
	}
	accounts, more, err := l.readAccounts(ctx, min(shortScan, int(core.ShortList)))
	if err != nil {
		return 0, err
	}
	if !more {
		return distinctIn(accounts), nil
	}
	c, err := l.count(ctx, core)
	return c.DIDs, err
}

// readAccounts returns the accounts of the links, some more than once. more is true where there are more than most
// links, or very many removed ones.
func (l List) readAccounts(ctx context.Context, most int) (accounts []uint64, more bool, err error) {
	sc := l.scan(ctx, nil, false).LimitTombstones(deadInRow)
	for sc.Next() {
		if len(accounts) == most {
			return nil, true, nil
		}
		p, err := l.Position(sc)
		if err != nil {
			return nil, false, err
		}
		accounts = append(accounts, p.AccountID)
	}
	return accounts, sc.LimitReached(), sc.Err()
}

// distinctIn returns how many accounts there are. It sorts them.
func distinctIn(accounts []uint64) int64 {
	slices.Sort(accounts)
	return int64(len(slices.Compact(accounts)))
}

// distinctOf counts the accounts of a list with so many links.
func (l List) distinctOf(ctx context.Context, core *Core, total int64) (int64, error) {
	if total <= 1 {
		return total, nil
	}
	if total > core.ShortList {
		if n, ok, err := l.distinctBySets(ctx, core); ok || err != nil {
			return n, err
		}
	}
	actors := make([]uint64, 0, total)
	sc := l.scan(ctx, nil, false)
	for n := 0; sc.Next(); n++ {
		if err := CheckContext(ctx, n); err != nil {
			return 0, err
		}
		p, err := l.Position(sc)
		if err != nil {
			return 0, err
		}
		actors = append(actors, p.AccountID)
	}
	return distinctIn(actors), sc.Err()
}

// DistinctOfSets counts the accounts of a long list from the set of each run. ok is false when an account's id is
// beyond what sets hold.
func (l List) DistinctOfSets(ctx context.Context) (n int64, ok bool, err error) {
	sets, ok, err := l.setsOf(ctx, l.v.Targets.Runs)
	if !ok || err != nil {
		return 0, false, err
	}
	return int64(distinct.Count(sets...)), true, nil
}

// setOf returns the accounts of the list in one run, of links that are out too: the set that its segment has, or one
// from an iteration. A run in memory caches the set: a list that is queried is queried again. Nil: an account's id
// doesn't fit a set.
func (l List) setOf(ctx context.Context, r lsm.Run) (*distinct.Set, error) {
	if run, onDisk := r.(*segment.Run); onDisk {
		if set, has, err := run.Distinct(l.Prefix); has || err != nil {
			return set, err
		}
	}
	inMemory, _ := r.(*lsm.MemRun)
	if inMemory != nil {
		if set, ok := inMemory.Cache.Load(string(l.Prefix)); ok {
			return set.(*distinct.Set), nil
		}
	}
	set := &distinct.Set{}
	steps, err := addMembers(ctx, set, r, l.Prefix, lsm.PrefixEnd(l.Prefix), 1)
	if steps < 0 || err != nil {
		return nil, err
	}
	if inMemory != nil && steps > leaveSet {
		inMemory.Cache.Store(string(l.Prefix), set)
	}
	return set, nil
}

// addMembers adds the accounts of the entries of a run with from <= key < to to a set, sign times. It returns how many
// entries it read, below 0 where an account's id doesn't fit a set.
func addMembers(ctx context.Context, set *distinct.Set, r lsm.Run, from, to []byte, sign int) (steps int, err error) {
	w, err := r.Iterate(from, to, false)
	for more := w != nil; more && err == nil; more, err = w.Next() {
		_, member, fits := codec.ListMember(w.Key())
		if !fits {
			return -1, nil
		}
		set.Add(member, sign*ByTarget.DeltaOf(w.Value()))
		steps++
		if CheckContext(ctx, steps) != nil {
			return steps, ctx.Err()
		}
	}
	return steps, err
}

// leaveSet is the shortest iteration whose set is cached in a run. Of so many members one takes 2 bytes where they are
// close, and 55 where each is alone among 65,536 numbers; a link takes 104, so the sets take at most half of a run's
// memory.
const leaveSet = 256

// hides reports whether a job is about to hide an account: its links are no longer listed, though counts still have
// them.
func (v *Snapshot) hides(actor uint64) bool {
	_, ok := v.Hiding[actor]
	return ok
}

// checkPosition refuses bytes that are not a position.
func checkPosition(after []byte) error {
	if after == nil {
		return nil
	}
	if _, rest, err := codec.DecodePosition(after); err != nil || len(rest) > 0 {
		return ErrBadCursor
	}
	return nil
}

// CheckContext looks at the context once in a while: each look takes a lock that all requests share. More often it lets
// others run: the scheduler would let a count wait for 10 ms behind each walk.
func CheckContext(ctx context.Context, n int) error {
	if n%256 == 255 {
		runtime.Gosched()
	}
	if n%4096 == 4095 {
		return ctx.Err()
	}
	return nil
}
