package db

import (
	"context"
	"fmt"

	"weft.dev/weft/db/run"
)

// CountLinks counts the links to a target from one source.
func (s *Index) CountLinks(_ context.Context, target string, source Source) (int64, error) {
	v := s.acquire()
	defer s.release(v)
	l, ok, err := v.list(target, source)
	if !ok || err != nil {
		return 0, err
	}
	return l.total()
}

// CountDIDs counts the accounts that link to a target from one source.
func (s *Index) CountDIDs(ctx context.Context, target string, source Source) (int64, error) {
	v := s.acquire()
	defer s.release(v)
	l, ok, err := v.list(target, source)
	if !ok || err != nil {
		return 0, err
	}
	return l.distinct(ctx)
}

// Links lists the links to a target from one source, newest first, or oldest first when asked to.
func (s *Index) Links(ctx context.Context, q ListQuery) (Page[Record], error) {
	v := s.acquire()
	defer s.release(v)
	page := Page[Record]{Items: []Record{}}
	l, ok, err := v.list(q.Target, q.Source)
	if err != nil {
		return page, err
	}
	if !ok {
		return page, checkPosition(q.After)
	}
	l = l.within(q.Since, q.Until)
	var keep func(uint64) bool
	if q.DIDs != nil {
		if keep, err = l.v.actorFilter(q.DIDs); err != nil {
			return page, err
		}
	}
	var found []position
	if keep == nil {
		if page.Total, err = l.total(); err == nil {
			found, page.Next, err = l.page(q.After, q.Limit, q.Reverse)
		}
	} else {
		page.Total, found, page.Next, err = l.filtered(ctx, keep, q.After, q.Limit, q.Reverse)
	}
	if err != nil {
		return Page[Record]{}, err
	}
	page.Items, err = s.recordsAt(ctx, q.Source.Collection, found)
	for _, p := range found {
		page.Times = append(page.Times, int64(p.rank))
	}
	return page, err
}

// Sources counts the links to a target by source, in the order in which the sources were first seen.
func (s *Index) Sources(ctx context.Context, target string) ([]SourceCount, error) {
	v, counts := s.acquire(), []SourceCount{}
	defer s.release(v)
	key, ok, err := v.targetKey(target)
	if !ok || err != nil {
		return counts, err
	}
	for from, to := key, run.After(key); ; {
		sc := v.targets.ScanPrefix(key, from, to, false)
		if !sc.Next() {
			return counts, sc.Err()
		}
		id, _, err := cutID(sc.Key()[len(key):])
		if err != nil {
			return nil, fmt.Errorf("db: link key %x: %w", sc.Key(), err)
		}
		l := v.listOf(appendID(key[:len(key):len(key)], id))
		source, err := s.source(ctx, id)
		if err != nil {
			return nil, err
		}
		dids, err := l.distinct(ctx)
		if err != nil {
			return nil, err
		}
		links, err := l.total()
		if err != nil {
			return nil, err
		}
		counts = append(counts, SourceCount{source, links, dids})
		from = run.After(l.prefix)
	}
}

// recordsAt names the records of links.
func (s *Index) recordsAt(ctx context.Context, collection string, found []position) ([]Record, error) {
	ids := make([]uint64, len(found))
	for i, p := range found {
		ids[i] = p.actor
	}
	dids, err := s.dids(ctx, ids)
	if err != nil {
		return nil, err
	}
	records := make([]Record, len(found))
	for i, p := range found {
		records[i] = Record{DID: dids[p.actor], Collection: collection, Rkey: rkeyString(p.rkey())}
	}
	return records, nil
}
