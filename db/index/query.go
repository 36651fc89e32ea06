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
	from := key
	to := lsm.PrefixEnd(key)
	if q.After != nil {
		from = lsm.PrefixEnd(codec.AppendID(bytes.Clone(key), after))
	}
	var sc *lsm.MergingIterator // nil: it begins at from
	for {
		if err := ctx.Err(); err != nil { // a source may take long to count
			return page, err
		}
		if sc == nil {
			sc = v.Targets.ScanPrefix(key, from, to, false).WithContext(ctx)
			if !sc.Next() {
				return page, sc.Err()
			}
		}
		id, _, err := codec.DecodeID(sc.Key()[len(key):])
		if err != nil {
			return page, fmt.Errorf("db: link key %x: %w", sc.Key(), err)
		}
		l := v.ListOf(codec.AppendID(key[:len(key):len(key)], id))
		if l.horizon > 0 {
			total, err := l.Total()
			if err != nil {
				return page, err
			}
			if total == 0 { // all of it is out
				from = lsm.PrefixEnd(l.Prefix)
				sc = nil
				continue
			}
		}
		if len(page.Items) == q.Limit {
			page.Next = codec.AppendID(nil, after)
			return page, nil
		}
		source, err := s.core.Source(ctx, id)
		if err != nil {
			return page, err
		}
		c, ok, more, err := l.countShort(sc)
		if err != nil {
			return page, err
		}
		if !ok {
			from = lsm.PrefixEnd(l.Prefix)
			sc = nil
			c, err = l.count(ctx, s.core)
			if err != nil {
				return page, err
			}
		}
		page.Items = append(page.Items, SourceCount{source, c.Links, c.DIDs})
		after = id
		if ok && !more {
			return page, nil
		}
	}
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
