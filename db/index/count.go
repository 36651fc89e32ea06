package index

import (
	"bytes"
	"context"
	"slices"

	"weft.dev/weft/db/codec"
)

// Counts counts many lists at one moment, in the order of the pairs. It looks each name up once, and reads the lists in
// the order of their keys, so that neighbours share blocks. Behind each PairsAtOnce lists it calls pause, so that
// others get a turn; an error of pause ends it. nil: no pauses.
func (s *Queries) Counts(ctx context.Context, pairs []Pair, pause func() error) ([]PairCount, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	lists, err := v.pairLists(pairs)
	if err != nil {
		return nil, err
	}
	counts := make([]PairCount, len(pairs))
	counted := 0
	for i, l := range lists {
		if i > 0 && bytes.Equal(l.Prefix, lists[i-1].Prefix) { // it is asked for twice
			counts[l.pair] = counts[lists[i-1].pair]
			continue
		}
		if counted > 0 && counted%PairsAtOnce == 0 && pause != nil {
			err := pause()
			if err != nil {
				return nil, err
			}
		}
		counted++
		counts[l.pair], err = l.count(ctx, s.core)
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// pairList is the list of a pair.
type pairList struct {
	List
	pair int // its index
}

// pairLists returns the lists of pairs in the order of their keys, without those whose target or source the index has
// never seen.
func (v *Snapshot) pairLists(pairs []Pair) ([]pairList, error) {
	names := names{v: v, ids: make(map[string]uint64)}
	lists := make([]pairList, 0, len(pairs))
	for i, p := range pairs {
		key, ok, err := targetKey(p.Target, names.id, names.id)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		source, _, ok, err := sourceID(p.Source, names.id)
		if err != nil {
			return nil, err
		}
		if ok {
			lists = append(lists, pairList{v.ListOf(codec.AppendID(key, source)), i})
		}
	}
	slices.SortFunc(lists, func(a, b pairList) int { return bytes.Compare(a.Prefix, b.Prefix) })
	return lists, nil
}

// names looks names up, each once.
type names struct {
	v   *Snapshot
	ids map[string]uint64 // 0: the index does not have the name
}

func (n *names) id(name []byte) (id uint64, ok bool, err error) {
	id, known := n.ids[string(name)]
	if known {
		return id, id != 0, nil
	}
	id, ok, err = n.v.ID(name)
	if err == nil {
		n.ids[string(name)] = id
	}
	return id, ok, err
}
