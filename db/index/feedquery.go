package index

import (
	"context"

	"weft.dev/weft/db/codec"
)

// Feed lists links, newest first. It costs as AccountLinks does: by the number of lists, however long they are.
func (s *Queries) Feed(ctx context.Context, q FeedQuery) ([]AccountLink, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	ranges, err := v.feedRanges(q)
	if err != nil {
		return nil, err
	}
	page, err := s.newestOf(ctx, v, ranges, AccountQuery{Sources: q.Sources, Limit: q.Limit})
	return page.Items, err
}

// FeedTotal counts the links that Feed lists without a limit, from the runs' sums. Of an account and of prefixes, it
// counts the links from all sources, whatever q.Sources says.
func (s *Queries) FeedTotal(ctx context.Context, q FeedQuery) (int64, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	ranges, err := v.feedRanges(q)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, prefix := range ranges {
		n, err := v.sumOf(ctx, prefix)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// feedRanges returns the prefixes of the keys by target that a query is about; none where the index has never seen its
// target or account.
func (v *Snapshot) feedRanges(q FeedQuery) (ranges [][]byte, err error) {
	for _, prefix := range q.Prefixes {
		ranges = append(ranges, codec.TextTargets(prefix))
	}
	if q.DID != "" {
		prefix, ok, err := v.accountRange(q.DID)
		if err != nil {
			return nil, err
		}
		if ok {
			ranges = append(ranges, prefix)
		}
	}
	if q.Target == "" {
		return ranges, nil
	}
	key, ok, err := v.TargetKey(q.Target)
	if err != nil || !ok {
		return ranges, err
	}
	if q.Sources == nil {
		return append(ranges, key), nil
	}
	seen := map[uint64]bool{} // a source that is given twice is one
	for _, source := range q.Sources {
		id, _, ok, err := v.sourceID(source)
		if err != nil {
			return nil, err
		}
		if ok && !seen[id] {
			seen[id] = true
			ranges = append(ranges, codec.AppendID(key[:len(key):len(key)], id))
		}
	}
	return ranges, nil
}
