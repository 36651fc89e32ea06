package index

import (
	"cmp"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// fewLinks is the links to a target in the segments up to one, if they are few. It stays right as long as
// segmentMembers does.
type fewLinks struct {
	end   uint64 // File.End of the newest segment
	many  bool   // there are more than shortScan
	links []linkDelta
}

// linkDelta is a link from an account that is there (1), or is no longer (-1).
type linkDelta struct {
	source, account uint64
	delta           int64
}

// fewCacheBytes bounds each half of the cache of fewLinks in bytes: 10,000 targets of five links.
const fewCacheBytes = 2 << 20

// newFewCache returns an empty cache of fewLinks, by the key of the target.
func newFewCache() *cache[string, fewLinks] {
	c := newCache(fewCacheBytes, func(key string, f fewLinks) int { return len(key) + 24*len(f.links) + 40 })
	return &c
}

// few returns the links of a target with a prefix, which is the target's key or that of one of its lists. ok is false
// where the target has more than shortScan of them in the segments, or most in memory, or where some may be out.
func (v *Snapshot) few(target, prefix []byte, most int) (links []linkDelta, ok bool, err error) {
	if v.fewLinks == nil || v.Horizons.Newest() > 0 {
		return nil, false, nil
	}
	f, err := v.fewInSegments(target)
	if f.many || err != nil {
		return nil, false, err
	}
	links = make([]linkDelta, 0, len(f.links)+most)
	source := sourceOf(prefix)
	for _, l := range f.links {
		if source == 0 || l.source == source {
			links = append(links, l)
		}
	}
	most += len(links)
	hash := ByTarget.Hash(target)
	end := lsm.PrefixEnd(prefix)
	for _, r := range v.Targets.Runs[len(v.Files.Files):] {
		if !r.MayContain(hash, target) {
			continue
		}
		it, err := r.Iterate(prefix, end, false)
		for more := it != nil; more && err == nil; more, err = it.Next() {
			if len(links) == most {
				return nil, false, nil
			}
			l, err := linkAt(target, it.Key())
			if err != nil {
				return nil, false, err
			}
			l.delta = int64(ByTarget.DeltaOf(it.Value()))
			links = append(links, l)
		}
		if err != nil {
			return nil, false, err
		}
	}
	return links, true, nil
}

// fewInSegments returns the links of a target in the segments, from the cache or by iteration.
func (v *Snapshot) fewInSegments(target []byte) (f fewLinks, err error) {
	files := v.Files.Files
	if len(files) == 0 {
		return f, nil
	}
	end := files[len(files)-1].End
	f, ok := v.fewLinks.get(string(target))
	if ok && f.end == end {
		return f, nil
	}
	f = fewLinks{end: end}
	segments := lsm.Tree{Keyspace: v.Targets.Keyspace, Runs: v.Targets.Runs[:len(files)]}
	sc := segments.ScanPrefix(target, target, lsm.PrefixEnd(target), false).LimitTombstones(deadInRow)
	for sc.Next() {
		if len(f.links) == shortScan {
			f.many = true
			break
		}
		l, err := linkAt(target, sc.Key())
		if err != nil {
			return f, err
		}
		l.delta = 1
		f.links = append(f.links, l)
	}
	if sc.Err() != nil {
		return f, sc.Err()
	}
	if f.many || sc.LimitReached() {
		f.many, f.links = true, nil
	}
	v.fewLinks.put(string(target), f)
	return f, nil
}

// linkAt returns the source and the account of a link to a target.
func linkAt(target, key []byte) (l linkDelta, err error) {
	source, at, err := codec.DecodeID(key[len(target):])
	if err != nil {
		return l, err
	}
	p, _, err := codec.DecodePosition(at)
	return linkDelta{source: source, account: p.AccountID}, err
}

// sourcePairCount is a source with the counts of its list.
type sourcePairCount struct {
	source uint64
	PairCount
}

// countBySource adds links up by source, in the order of the sources' ids. It sorts them.
func countBySource(links []linkDelta) (counts []sourcePairCount) {
	slices.SortFunc(links, func(a, b linkDelta) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.account, b.account))
	})
	for len(links) > 0 {
		c := sourcePairCount{source: links[0].source}
		for len(links) > 0 && links[0].source == c.source {
			account, sum := links[0].account, int64(0)
			for len(links) > 0 && links[0].source == c.source && links[0].account == account {
				sum += links[0].delta
				links = links[1:]
			}
			c.Links += sum
			if sum > 0 {
				c.DIDs++
			}
		}
		if c.Links > 0 {
			counts = append(counts, c)
		}
	}
	return counts
}
