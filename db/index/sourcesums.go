package index

import (
	"context"
	"maps"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// sourceSums adds up links by source for a page of sources, which are in the order of their ids, and the total of all
// sources.
type sourceSums struct {
	ctx      context.Context
	from, to uint64 // by has all of these; to moves down where there are too many
	most     int    // sources in by
	by       map[uint64]int64
	total    int64
	lists    int // read so far
	horizons *keep.Horizons
	eager    bool // cache the sums of any number of lists
}

func (s *sourceSums) add(source uint64, n int64) {
	s.total += n
	if source < s.from || source >= s.to {
		return
	}
	s.by[source] += n
	if len(s.by) <= s.most {
		return
	}
	ids := slices.Sorted(maps.Keys(s.by))
	for _, id := range ids[s.most/2:] {
		delete(s.by, id)
	}
	s.to = ids[s.most/2]
}

// addLists adds up the links of a run in a range of targets, by source, without those that are out. oldest is the
// oldest rank in the run; 0: unknown. It reads list by list, or finds what an earlier request has added up.
func (s *sourceSums) addLists(r lsm.Run, oldest uint64, prefix []byte) error {
	run, ok := r.(*segment.Run)
	if !ok {
		return s.readLists(r, oldest, prefix, s.add)
	}
	horizons := s.horizons
	if oldest >= horizons.Newest() {
		horizons = nil
	}
	key := sourcesKey + string(prefix)
	if known, ok := run.Derived(key).(*runSources); ok && known.isOf(horizons) {
		for source, n := range known.by {
			s.add(source, n)
		}
		return nil
	}
	known := &runSources{horizons: horizons, by: map[uint64]int64{}}
	before := s.lists
	err := s.readLists(r, oldest, prefix, func(source uint64, n int64) {
		s.add(source, n)
		if len(known.by) <= mostSources {
			known.by[source] += n
		}
	})
	if err == nil && len(known.by) <= mostSources && (s.eager || s.lists-before >= leastLists) {
		run.PutDerived(key, known, len(known.by)*sourceBytes)
	}
	return err
}

// sourcesKey begins the keys under which the cache has runSources.
const sourcesKey = "q"

const (
	// leastLists is the number of lists of a run from which on their sums are cached: reading fewer takes some
	// microseconds.
	leastLists = 64
	// mostSources is the number of sources of a run up to which their sums are cached. Anyone can create sources.
	mostSources = 512
	// sourceBytes is the memory of a source with its sum.
	sourceBytes = 40
)

// runSources is the links of a run in a range of targets by source.
type runSources struct {
	horizons *keep.Horizons // of the links that are left out; nil: none is out
	by       map[uint64]int64
}

// isOf reports whether the sums leave out what these horizons do. by has all sources of the run in the range.
func (k *runSources) isOf(h *keep.Horizons) bool {
	if k.horizons == h {
		return true
	}
	for source := range k.by {
		if k.horizons.Of(source) != h.Of(source) {
			return false
		}
	}
	return true
}

// readLists calls add with each list of a run in a range of targets: with its source, and with the sum of its links
// that are not out.
func (s *sourceSums) readLists(r lsm.Run, oldest uint64, prefix []byte, add func(source uint64, n int64)) error {
	var source uint64 // of the list at hand
	listLen := func(key []byte) (n int, err error) {
		n, source, err = codec.ListOf(key)
		return n, err
	}
	return r.PrefixSums(prefix, lsm.PrefixEnd(prefix), listLen, func(list []byte, sum int64) error {
		s.lists++
		if s.lists%256 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if horizon := s.horizons.Of(source); oldest < horizon {
			within, err := r.Sum(list, horizonKey(list, horizon))
			if err != nil {
				return err
			}
			sum = within
		}
		add(source, sum)
		return nil
	})
}
