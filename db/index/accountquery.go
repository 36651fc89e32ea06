package index

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// AccountLinks lists the links to an account, newest first. Total is 0: AccountSources counts.
//
// All targets of an account are one range of keys, but each list in it has an order of its own. A page is found run by
// run, the newest first, with the best links so far at hand: of each list, only what is newer than the worst of them is
// read, and a run that holds nothing so new is passed over. So a page costs as much as there are lists in the runs that
// reach up to its time, however long they are.
func (s *Queries) AccountLinks(ctx context.Context, q AccountQuery) (Page[AccountLink], error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	prefix, ok, err := v.accountRange(q.DID)
	if err != nil {
		return Page[AccountLink]{}, err
	}
	var ranges [][]byte
	if ok {
		ranges = append(ranges, prefix)
	}
	return s.newestOf(ctx, v, ranges, q)
}

// newestOf lists the links in some ranges of targets, newest first, as q asks. It doesn't read q.DID.
func (s *Queries) newestOf(ctx context.Context, v *Snapshot, ranges [][]byte, q AccountQuery) (Page[AccountLink],
	error) {
	page := Page[AccountLink]{Items: []AccountLink{}}
	f := &feed{ctx: ctx, v: v, limit: q.Limit + 1, seen: map[string]struct{}{}}
	if q.After != nil {
		if err := checkFeedPosition(q.After); err != nil {
			return page, err
		}
		if !slices.ContainsFunc(ranges, func(prefix []byte) bool { return bytes.HasPrefix(q.After[8:], prefix) }) {
			return page, ErrBadCursor
		}
	}
	if q.Sources != nil {
		f.sources = map[uint64]struct{}{}
		for _, source := range q.Sources {
			id, _, ok, err := v.sourceID(source)
			if err != nil {
				return page, err
			}
			if ok {
				f.sources[id] = struct{}{}
			}
		}
	}
	// Both ends are orders, as orderOf makes them: what lies between is in the page.
	f.after, f.before = q.After, lsm.PrefixEnd(codec.RankPrefix(uint64(max(q.Since, 0))))
	if q.Until > 0 {
		// The order of the last link that is too new, or what no link's is.
		if from := codec.RankPrefix(uint64(q.Until - 1)); bytes.Compare(from, f.after) > 0 {
			f.after = from
		}
	}
	for i := len(v.Targets.Runs) - 1; i >= 0; i-- {
		for _, prefix := range ranges {
			if newest := v.newestIn(i); newest > 0 && f.before != nil &&
				bytes.Compare(codec.RankPrefix(newest), f.before) > 0 {
				break
			}
			if err := f.read(v.Targets.Runs[i], prefix); err != nil {
				return page, err
			}
		}
	}
	slices.SortFunc(f.found, func(a, b feedLink) int { return bytes.Compare(a.order, b.order) })
	if len(f.found) > q.Limit {
		f.found = f.found[:q.Limit]
		page.Next = f.found[q.Limit-1].order
	}
	page.Position = func(i int) []byte { return f.found[i].order }
	var err error
	page.Items, err = s.accountLinks(ctx, f.found)
	return page, err
}

// accountRange is the range of the targets of an account; ok is false when the index has never seen it.
func (v *Snapshot) accountRange(did string) (prefix []byte, ok bool, err error) {
	actor, ok, err := v.ID(codec.DIDKey(did))
	if !ok || err != nil {
		return nil, false, err
	}
	return codec.AccountTargets(actor), true, nil
}

// newestIn returns the newest rank in a run by target; 0: unknown, the run is in memory or an older weft made it.
func (v *Snapshot) newestIn(i int) uint64 {
	if i >= len(v.Files.Files) {
		return 0
	}
	return v.Files.Files[i].NewestRank
}

// feed gathers a page of the links in ranges of targets, newest first: its order is the rank, inverted, and then the
// key without it.
type feed struct {
	ctx     context.Context
	v       *Snapshot
	sources map[uint64]struct{} // nil: all
	after   []byte              // only links behind this order; nil: all
	before  []byte              // only links before this order, which moves up as better ones are found; nil: all
	limit   int
	found   feedHeap
	seen    map[string]struct{} // orders that a newer run has
	steps   int
}

type feedLink struct {
	order  []byte
	target []byte
	source uint64
	codec.ListPosition
}

// feedHeap has the worst link on top.
type feedHeap []feedLink

func (h feedHeap) Len() int           { return len(h) }
func (h feedHeap) Less(i, j int) bool { return bytes.Compare(h[i].order, h[j].order) > 0 }
func (h feedHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *feedHeap) Push(x any)        { *h = append(*h, x.(feedLink)) }
func (h *feedHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// patience is how many entries that are of no use are stepped over before the rest is skipped: a new look-up costs as
// much as some dozen steps.
const patience = 24

// read takes what a run adds to the page, of the targets with a prefix.
func (f *feed) read(r lsm.Run, prefix []byte) error {
	end := lsm.PrefixEnd(prefix)
	for from := prefix; from != nil; {
		w, err := r.Iterate(from, end, false)
		if err != nil || w == nil {
			return err
		}
		from, err = f.walk(w)
		if err != nil {
			return err
		}
	}
	return nil
}

// walk goes through entries until many in a row are of no use, and returns the key to go on from; nil at the end.
func (f *feed) walk(w lsm.Iterator) (from []byte, err error) {
	var listLen int // of the list at hand: its part of last
	var last []byte
	var source uint64
	idle := 0
	for more := true; more; {
		f.steps++
		if f.steps%4096 == 0 && f.ctx.Err() != nil {
			return nil, f.ctx.Err()
		}
		key := w.Key()
		if last == nil || len(key) < listLen || !bytes.Equal(key[:listLen], last[:listLen]) {
			n := codec.TargetLen(key)
			id, rest, err := codec.DecodeID(key[n:])
			if err != nil {
				return nil, fmt.Errorf("db: link key %x: %w", key, err)
			}
			source = id
			listLen = len(key) - len(rest)
		}
		last = key
		if len(key) < listLen+8 {
			return nil, fmt.Errorf("db: link key %x: %w", key, codec.ErrMalformed)
		}
		at := f.where(source, key[listLen:listLen+8])
		if at == inside {
			if err := f.take(key, listLen, source, w.Value()); err != nil {
				return nil, err
			}
			idle = 0
		} else if idle++; idle > patience {
			if at == tooNew {
				return append(bytes.Clone(key[:listLen]), f.after[:8]...), nil
			}
			return lsm.PrefixEnd(key[:listLen]), nil
		}
		more, err = w.Next()
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

type where int

const (
	inside where = iota
	tooNew
	useless // and so is the rest of its list
)

// where says where an entry lies, by its source and its rank.
func (f *feed) where(source uint64, rank []byte) where {
	if f.sources != nil {
		if _, ok := f.sources[source]; !ok {
			return useless
		}
	}
	switch {
	case f.after != nil && bytes.Compare(rank, f.after[:8]) < 0:
		return tooNew
	case isOut(f.v.Horizons.Of(source), rank):
		return useless
	case f.before != nil && bytes.Compare(rank, f.before[:min(8, len(f.before))]) > 0:
		return useless
	}
	return inside
}

// take takes an entry whose rank is right, unless its order is not, or a newer run has its link.
func (f *feed) take(key []byte, listLen int, source uint64, value []byte) error {
	order := append(append(make([]byte, 0, len(key)), key[listLen:listLen+8]...), key[:listLen]...)
	order = append(order, key[listLen+8:]...)
	if f.after != nil && bytes.Compare(order, f.after) <= 0 || f.before != nil && bytes.Compare(order, f.before) >= 0 {
		return nil
	}
	if _, ok := f.seen[string(order)]; ok {
		return nil
	}
	f.seen[string(order)] = struct{}{}
	p, _, err := codec.DecodePosition(key[listLen:])
	if err != nil {
		return fmt.Errorf("db: link key %x: %w", key, err)
	}
	if value[0] != codec.Linked || f.v.hides(p.AccountID) {
		return nil
	}
	heap.Push(&f.found, feedLink{order, key[:codec.TargetLen(key)], source, p})
	if len(f.found) > f.limit {
		heap.Pop(&f.found)
	}
	if len(f.found) == f.limit {
		f.before = append(bytes.Clone(f.found[0].order), 0)
	}
	return nil
}

// checkFeedPosition refuses what is no order of a link.
func checkFeedPosition(after []byte) error {
	if len(after) < 8 {
		return ErrBadCursor
	}
	n := codec.TargetLen(after[8:])
	_, rest, err := codec.DecodeID(after[8+n:])
	if n == 0 || err != nil {
		return ErrBadCursor
	}
	p, rest, err := codec.DecodePosition(append(bytes.Clone(after[:8]), rest...))
	if err != nil || len(rest) > 0 || len(p.RkeySuffix) == 0 {
		return ErrBadCursor
	}
	return nil
}

// accountLinks names links.
func (s *Queries) accountLinks(ctx context.Context, found []feedLink) ([]AccountLink, error) {
	links := make([]AccountLink, len(found))
	targets := make([][]byte, len(found))
	actors := make([]uint64, len(found))
	for i, l := range found {
		targets[i] = l.target
		actors[i] = l.AccountID
	}
	names, err := s.core.TargetStrings(ctx, targets)
	if err != nil {
		return nil, err
	}
	dids, err := s.core.AccountDIDs(ctx, actors)
	if err != nil {
		return nil, err
	}
	for i, l := range found {
		source, err := s.core.Source(ctx, l.source)
		if err != nil {
			return nil, err
		}
		record := Record{dids[i], source.Collection, codec.RkeyString(l.Rkey())}
		links[i] = AccountLink{record, source.Path, names[i], int64(l.Rank)}
	}
	return links, nil
}

// AccountTotal counts the links to an account and to all of its records, from the runs' sums.
func (s *Queries) AccountTotal(ctx context.Context, did string) (int64, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	prefix, ok, err := v.accountRange(did)
	if !ok || err != nil {
		return 0, err
	}
	return v.sumOf(ctx, prefix)
}

// sumOf adds up the links of a range of targets: from the runs' sums, and where a run may have links that are out, list
// by list.
func (v *Snapshot) sumOf(ctx context.Context, prefix []byte) (int64, error) {
	lists := &sourceSums{ctx: ctx, horizons: v.Horizons}
	for i, r := range v.Targets.Runs {
		if v.oldestIn(i) < v.Horizons.Newest() {
			if err := lists.addLists(r, v.oldestIn(i), prefix); err != nil {
				return 0, err
			}
			continue
		}
		n, err := r.Sum(prefix, lsm.PrefixEnd(prefix))
		if err != nil {
			return 0, err
		}
		lists.total += n
	}
	return lists.total, nil
}

// oldestIn returns the oldest rank in a run by target; 0: unknown, the run is in memory or an older weft made it.
func (v *Snapshot) oldestIn(i int) uint64 {
	if i >= len(v.Files.Files) {
		return 0
	}
	return v.Files.Files[i].OldestRank
}

// AccountSources counts the links to an account by source, in the order in which the sources were first seen; Total is
// the sum of all pages. It costs as much as there are lists, however long they are, and keeps as much as a page takes.
func (s *Queries) AccountSources(ctx context.Context, q SourcesQuery) (Page[AccountCount], error) {
	page := Page[AccountCount]{Items: []AccountCount{}}
	after, err := afterSource(&q)
	if err != nil {
		return page, err
	}
	v := s.core.Acquire()
	defer s.core.Release(v)
	prefix, ok, err := v.accountRange(q.Of)
	if !ok || err != nil {
		return page, err
	}
	sums := &sourceSums{ctx: ctx, most: 2 * (q.Limit + 1), horizons: v.Horizons, eager: s.core.EagerSets}
	if q.After != nil {
		sums.from = after + 1
	}
	for { // once, but where many sources have no links left
		sums.by = map[uint64]int64{}
		sums.to = math.MaxUint64
		sums.total = 0
		for i, r := range v.Targets.Runs {
			if err := sums.addLists(r, v.oldestIn(i), prefix); err != nil {
				return page, err
			}
		}
		page.Total = sums.total
		for _, id := range slices.Sorted(maps.Keys(sums.by)) {
			if id >= sums.to || sums.by[id] == 0 {
				continue
			}
			if len(page.Items) == q.Limit {
				page.Next = codec.AppendID(nil, after)
				return page, nil
			}
			source, err := s.core.Source(ctx, id)
			if err != nil {
				return page, err
			}
			page.Items = append(page.Items, AccountCount{source, sums.by[id]})
			after = id
		}
		if sums.to == math.MaxUint64 {
			return page, nil
		}
		sums.from = sums.to
	}
}
