package index

import (
	"bytes"
	"context"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// CountLinks counts the links to a target from one source.
func (s *Queries) CountLinks(_ context.Context, target string, source Source) (int64, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	l, ok, err := v.list(target, source)
	if !ok || err != nil {
		return 0, err
	}
	return l.Total()
}

// CountDIDs counts the accounts that link to a target from one source.
func (s *Queries) CountDIDs(ctx context.Context, target string, source Source) (int64, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	l, ok, err := v.list(target, source)
	if !ok || err != nil {
		return 0, err
	}
	return l.distinct(ctx, s.core)
}

// Links lists the links to a target from one source, newest first, or oldest first when asked to.
func (s *Queries) Links(ctx context.Context, q ListQuery) (Page[Record], error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	page := Page[Record]{Items: []Record{}}
	l, ok, err := v.list(q.Target, q.Source)
	if err != nil {
		return page, err
	}
	if !ok {
		return page, checkPosition(q.After)
	}
	l = l.within(q.Since, q.Until)
	l = l.withBound(q.Walk)
	wanted, err := s.core.accountIDs(v, q.DIDs)
	if err != nil {
		return page, err
	}
	var found []codec.ListPosition
	if wanted == nil {
		page.Total, err = l.Total()
		if err == nil {
			found, page.Next, err = l.page(ctx, q.After, q.Limit, q.Reverse)
		}
	} else {
		page.Total, found, page.Next, err = l.filtered(ctx, wanted, q.After, q.Limit, q.Reverse)
	}
	if err != nil {
		return Page[Record]{}, err
	}
	page.Items, err = s.recordsAt(ctx, q.Source.Collection, found)
	page.Times = make([]int64, len(found))
	for i, p := range found {
		page.Times[i] = int64(p.Rank)
	}
	page.Position = func(i int) []byte { return found[i].Append(nil) }
	return page, err
}

// Sources counts the links to a target by source, in the order in which the sources were first seen. Total is 0.
func (s *Queries) Sources(ctx context.Context, q SourcesQuery) (Page[SourceCount], error) {
	page := Page[SourceCount]{Items: []SourceCount{}}
	after, err := afterSource(&q)
	if err != nil {
		return page, err
	}
	v := s.core.Acquire()
	defer s.core.Release(v)
	key, ok, err := v.TargetKey(q.Of)
	if !ok || err != nil {
		return page, err
	}
	w := sourceWalk{v: v, key: key, from: key, to: lsm.PrefixEnd(key)}
	if q.After != nil {
		w.from = lsm.PrefixEnd(codec.AppendID(bytes.Clone(key), after))
	}
	for {
		id, l, ok, err := w.next(ctx)
		if !ok || err != nil {
			return page, err
		}
		if len(page.Items) == q.Limit {
			page.Next = codec.AppendID(nil, after)
			return page, nil
		}
		source, err := s.core.Source(ctx, id)
		if err != nil {
			return page, err
		}
		c, more, err := w.count(ctx, s.core, l)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, SourceCount{source, c.Links, c.DIDs})
		after = id
		if !more {
			return page, nil
		}
	}
}

// sourceWalk visits the lists of a target, by source.
type sourceWalk struct {
	v        *Snapshot
	key      []byte               // of the target
	from, to []byte               // what is not yet visited
	scan     *lsm.MergingIterator // nil: it begins at from
}

// next returns the next list that is not all out, with its source. ok is false behind the last one.
func (w *sourceWalk) next(ctx context.Context) (source uint64, l List, ok bool, err error) {
	for {
		if err := ctx.Err(); err != nil { // a source may take long to count
			return 0, l, false, err
		}
		if w.scan == nil {
			w.scan = w.v.Targets.ScanPrefix(w.key, w.from, w.to, false).WithContext(ctx)
			if !w.scan.Next() {
				return 0, l, false, w.scan.Err()
			}
		}
		source, _, err = codec.DecodeID(w.scan.Key()[len(w.key):])
		if err != nil {
			return 0, l, false, fmt.Errorf("db: link key %x: %w", w.scan.Key(), err)
		}
		l = w.v.ListOf(codec.AppendID(w.key[:len(w.key):len(w.key)], source))
		if l.horizon == 0 {
			return source, l, true, nil
		}
		total, err := l.Total()
		if total != 0 || err != nil {
			return source, l, err == nil, err
		}
		w.skip(l)
	}
}

// skip makes the next scan begin behind a list.
func (w *sourceWalk) skip(l List) {
	w.from = lsm.PrefixEnd(l.Prefix)
	w.scan = nil
}

// count counts the list that next returned. more is false where no list follows; true: there may be one.
func (w *sourceWalk) count(ctx context.Context, core *Core, l List) (c PairCount, more bool, err error) {
	c, ok, more, err := l.countShort(w.scan)
	if ok || err != nil {
		return c, more, err
	}
	w.skip(l)
	c, err = l.count(ctx, core)
	return c, true, err
}

// shortScan is the longest list that Sources counts while it scans for the next one: its look-ups cost as much.
const shortScan = 64

// countShort counts a list whose first link the scan is at, and moves the scan to the first link behind the list, if
// there are more. ok is false where the list is long, or has links that are out.
func (l List) countShort(sc *lsm.MergingIterator) (c PairCount, ok, more bool, err error) {
	if l.horizon > 0 {
		return c, false, false, nil
	}
	accounts := make([]uint64, 0, shortScan)
	for more = true; more && bytes.HasPrefix(sc.Key(), l.Prefix); more = sc.Next() {
		if len(accounts) == shortScan {
			return c, false, false, nil
		}
		p, err := l.Position(sc)
		if err != nil {
			return c, false, false, err
		}
		accounts = append(accounts, p.AccountID)
	}
	c.Links = int64(len(accounts))
	c.DIDs = distinctIn(accounts)
	return c, true, more, sc.Err()
}

// recordsAt names the records of links. The record keys of a page are parts of one string.
func (s *Queries) recordsAt(ctx context.Context, collection string, found []codec.ListPosition) ([]Record, error) {
	ids := make([]uint64, len(found))
	for i, p := range found {
		ids[i] = p.AccountID
	}
	dids, err := s.core.AccountDIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	text := make([]byte, 0, tidLen*len(found))
	ends := make([]int, len(found))
	for i, p := range found {
		text = p.AppendRkeyText(text)
		ends[i] = len(text)
	}
	rkeys := string(text)
	records := make([]Record, len(found))
	begin := 0
	for i, end := range ends {
		records[i] = Record{DID: dids[i], Collection: collection, Rkey: rkeys[begin:end]}
		begin = end
	}
	return records, nil
}

// tidLen is the length of a TID, which most record keys are, in bytes.
const tidLen = 13

// afterSource is the id of the source that a page starts behind.
func afterSource(q *SourcesQuery) (id uint64, err error) {
	if q.After == nil {
		return 0, nil
	}
	id, rest, err := codec.DecodeID(q.After)
	if err != nil || len(rest) > 0 {
		return 0, ErrBadCursor
	}
	return id, nil
}
