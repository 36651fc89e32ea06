package db

import (
	"context"
	"fmt"
	"slices"

	"weft.dev/weft/db/run"
)

// CountLinks counts the links to a target from one source.
func (s *Store) CountLinks(_ context.Context, target string, source Source) (int64, error) {
	v := s.acquire()
	defer s.release(v)
	l, ok, err := v.list(target, source)
	if !ok || err != nil {
		return 0, err
	}
	return l.total()
}

// CountDIDs counts the accounts that link to a target from one source.
func (s *Store) CountDIDs(ctx context.Context, target string, source Source) (int64, error) {
	v := s.acquire()
	defer s.release(v)
	l, ok, err := v.list(target, source)
	if !ok || err != nil {
		return 0, err
	}
	return l.distinct(ctx)
}

// Links lists the links to a target from one source, newest first, or oldest first when asked to.
func (s *Store) Links(ctx context.Context, q ListQuery) (Page[Record], error) {
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
	return page, err
}

// DIDs lists the accounts that link to a target from one source, by their first link, newest first.
func (s *Store) DIDs(ctx context.Context, q ListQuery) (Page[string], error) {
	v := s.acquire()
	defer s.release(v)
	page := Page[string]{Items: []string{}}
	l, ok, err := v.list(q.Target, q.Source)
	if err != nil {
		return page, err
	}
	if !ok {
		return page, checkPosition(q.After)
	}
	keep := func(uint64) bool { return true }
	if q.DIDs != nil {
		if keep, err = l.v.actorFilter(q.DIDs); err != nil {
			return page, err
		}
	}
	if err := checkPosition(q.After); err != nil {
		return page, err
	}
	// Only a walk from the oldest link on tells which link is an account's first.
	var firsts []position
	seen := map[uint64]struct{}{}
	sc := l.scan(nil, true)
	for n := 0; sc.Next(); n++ {
		if err := checkContext(ctx, n); err != nil {
			return page, err
		}
		p, err := l.position(sc)
		if err != nil {
			return page, err
		}
		if _, ok := seen[p.actor]; ok || !keep(p.actor) || v.hides(p.actor) {
			continue
		}
		seen[p.actor] = struct{}{}
		firsts = append(firsts, p)
	}
	if err := sc.Err(); err != nil {
		return page, err
	}
	page.Total = int64(len(firsts))
	slices.Reverse(firsts)
	if q.After != nil {
		start, _ := slices.BinarySearchFunc(firsts, q.After, func(p position, after []byte) int {
			if slices.Compare(p.append(nil), after) <= 0 {
				return -1
			}
			return 1
		})
		firsts = firsts[start:]
	}
	if len(firsts) > q.Limit {
		firsts = firsts[:q.Limit]
		page.Next = firsts[q.Limit-1].append(nil)
	}
	ids := make([]uint64, len(firsts))
	for i, p := range firsts {
		ids[i] = p.actor
	}
	dids, err := s.dids(ctx, ids)
	if err != nil {
		return page, err
	}
	for _, id := range ids {
		page.Items = append(page.Items, dids[id])
	}
	return page, nil
}

// Sources counts the links to a target by source, in the order in which the sources were first seen.
func (s *Store) Sources(ctx context.Context, target string) ([]SourceCount, error) {
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
		l := list{v: v, prefix: appendID(key[:len(key):len(key)], id)}
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
func (s *Store) recordsAt(ctx context.Context, collection string, found []position) ([]Record, error) {
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
