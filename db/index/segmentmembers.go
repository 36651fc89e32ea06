package index

import (
	"context"
	"slices"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// segmentMembers is the accounts of a list in the segments up to one. A seal adds a segment behind them. A compaction
// changes files and not what they add up to: of links that are in, it drops only additions together with their
// removals. So the members stay right as long as the snapshot has a segment with the same end, and the same horizon of
// the list.
type segmentMembers struct {
	end     uint64 // File.End of the newest segment
	horizon uint64
	base    *distinct.Base
}

// membersKey begins the keys under which the cache has segmentMembers.
const membersKey = "m"

// distinctBySets counts the accounts of a long list by its segmentMembers and the sets of the runs in memory. ok is as
// of DistinctOfSets.
func (l List) distinctBySets(ctx context.Context, core *Core) (n int64, ok bool, err error) {
	inSegments := len(l.v.Files.Files)
	m, err := l.segmentMembers(ctx, core)
	if m == nil || err != nil {
		return 0, false, err
	}
	sets, ok, err := l.setsOf(ctx, l.v.Targets.Runs[inSegments:])
	if !ok || err != nil {
		return 0, false, err
	}
	return int64(m.base.Count(sets...)), true, nil
}

// segmentMembers returns the members in all segments, from the cache or from the sets of the segments; nil: an
// account's id is beyond what sets hold. One request at a time derives those of a list.
func (l List) segmentMembers(ctx context.Context, core *Core) (*segmentMembers, error) {
	if m, _ := l.cachedMembers(core.Blocks); m != nil {
		return m, nil
	}
	end, err := core.deriving.begin(ctx, membersKey+string(l.Prefix))
	if err != nil {
		return nil, err
	}
	defer end()
	m, older := l.cachedMembers(core.Blocks)
	if m != nil {
		return m, nil
	}
	files := l.v.Files.Files
	m = &segmentMembers{horizon: l.horizon}
	var from int
	var base *distinct.Base
	if older != nil {
		from = 1 + slices.IndexFunc(files, func(f *File) bool { return f.End == older.end })
		base = older.base
	}
	if len(files) > 0 {
		m.end = files[len(files)-1].End
	}
	sets, ok, err := l.setsOf(ctx, l.v.Targets.Runs[from:len(files)])
	if !ok || err != nil {
		return nil, err
	}
	m.base = base
	if base == nil || len(sets) > 0 {
		m.base = distinct.NewBase(base, sets...)
	}
	core.Blocks.PutDerived(membersKey+string(l.Prefix), m, m.base.Memory()+64)
	return m, nil
}

// cachedMembers returns the cached members of all segments, or those of the segments up to an older one; nil: there are
// none.
func (l List) cachedMembers(cache *segment.Cache) (m, older *segmentMembers) {
	m, _ = cache.Derived(membersKey + string(l.Prefix)).(*segmentMembers)
	files := l.v.Files.Files
	if m == nil || m.horizon != l.horizon || len(files) == 0 {
		return nil, nil
	}
	if m.end == files[len(files)-1].End {
		return m, nil
	}
	if slices.ContainsFunc(files, func(f *File) bool { return f.End == m.end }) {
		return nil, m
	}
	return nil, nil
}

// setsOf returns the sets of the list in runs. ok is as of DistinctOfSets.
func (l List) setsOf(ctx context.Context, runs []lsm.Run) (sets []*distinct.Set, ok bool, err error) {
	hash := ByTarget.Hash(l.Prefix)
	for _, r := range runs {
		if !r.MayContain(hash, l.Prefix) {
			continue
		}
		set, err := l.setOf(ctx, r)
		if set == nil || err != nil {
			return nil, false, err
		}
		sets = append(sets, set)
		if l.horizon > 0 {
			out, err := l.outSet(ctx, r)
			if out == nil || err != nil {
				return nil, false, err
			}
			sets = append(sets, out)
		}
	}
	return sets, true, nil
}
