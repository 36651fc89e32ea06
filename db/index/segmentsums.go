package index

import (
	"slices"

	"weft.dev/weft/db/lsm"
)

// segmentSum is the number of links of a list in the segments up to one. It stays right as long as segmentMembers does,
// for the same reasons.
type segmentSum struct {
	end     uint64 // File.End of the newest segment
	horizon uint64
	links   int64
}

// sumCacheBytes bounds each half of the cache of segmentSums in bytes: 18,000 usual lists. A look-up in it takes as
// long as one in the filter of a single segment.
const sumCacheBytes = 2 << 20

// newSumCache returns an empty cache of segmentSums, by the prefix of the list.
func newSumCache() *cache[string, segmentSum] {
	c := newCache(sumCacheBytes, func(prefix string, _ segmentSum) int { return len(prefix) + 24 })
	return &c
}

// inSegments counts the links of the whole list in the segments.
func (l List) inSegments() (int64, error) {
	files := l.v.Files.Files
	if len(files) == 0 {
		return 0, nil
	}
	s := segmentSum{end: files[len(files)-1].End, horizon: l.horizon}
	from := 0
	known, ok := l.v.sums.get(string(l.Prefix))
	if ok && known.horizon == s.horizon {
		if known.end == s.end {
			return known.links, nil
		}
		behind := 1 + slices.IndexFunc(files, func(f *File) bool { return f.End == known.end })
		if behind > 0 { // only the seals behind it are missing
			from = behind
			s.links = known.links
		}
	}
	links, err := l.sum(l.v.Targets.Runs[from:len(files)], l.from, l.to)
	if err != nil {
		return 0, err
	}
	s.links += links
	l.v.sums.put(string(l.Prefix), s)
	return s.links, nil
}

// sum sums up the links with from <= key < to in some runs.
func (l List) sum(runs []lsm.Run, from, to []byte) (sum int64, err error) {
	hash := ByTarget.Hash(l.Prefix)
	for _, r := range runs {
		if !r.MayContain(hash, l.Prefix) {
			continue
		}
		n, err := r.Sum(from, to)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
