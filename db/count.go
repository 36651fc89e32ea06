package db

import "context"

// Pair names a list: the links to a target from one source.
type Pair struct {
	Target string // as link.Parse normalises it
	Source Source
}

// PairCount counts the links of a list, and the accounts that made them.
type PairCount struct {
	Links int64
	DIDs  int64
}

// Counts counts many lists at one moment, in the order of the pairs.
func (s *Index) Counts(ctx context.Context, pairs []Pair) ([]PairCount, error) {
	v := s.acquire()
	counts := make([]PairCount, len(pairs))
	defer s.release(v)
	for i, p := range pairs {
		l, ok, err := v.list(p.Target, p.Source)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		counts[i].Links, err = l.total()
		if err != nil {
			return nil, err
		}
		counts[i].DIDs, err = l.distinct(ctx)
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}
