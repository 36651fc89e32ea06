package index

import (
	"context"

	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// The kinds of marks that the cache has of a list. Those of the segments stay for long; those of all runs are made from
// these each time that a list has changed.
const (
	segmentMarks = "s"
	allMarks     = "a"
)

// readyMarks returns the marks of the whole list if the cache has them; else nil.
func (l List) readyMarks(cache *segment.Cache) *firstMarks {
	if cache.Derived(allMarks+string(l.Prefix)) == nil { // most lists: the runs need not be asked
		return nil
	}
	runs := l.runs()
	m := l.cachedMarks(cache, allMarks, runs)
	if m == nil || len(m.runs) < len(runs) || m.horizon < l.horizon {
		return nil
	}
	return m
}

// marks returns the marks of the whole list, also of accounts that are being hidden; nil when an account's id is beyond
// what they hold. One request at a time derives those of a list: the next finds them in the cache.
func (l List) marks(ctx context.Context, core *Core) (*firstMarks, error) {
	end, err := core.deriving.begin(ctx, allMarks+string(l.Prefix))
	if err != nil {
		return nil, err
	}
	defer end()
	l.eagerSets = core.EagerSets
	cache := core.Blocks
	v := *l.v
	v.Hiding = nil
	l.v = &v
	runs := l.runs()
	segments := l.segments()
	ofSegments := segments.runs()
	m := l.cachedMarks(cache, allMarks, runs)
	if m == nil || len(m.parts) < len(ofSegments) {
		var err error
		m, err = segments.extendMarks(ctx, cache, l.cachedMarks(cache, segmentMarks, ofSegments), ofSegments, segmentMarks)
		if m == nil || err != nil {
			return nil, err
		}
	}
	return l.extendMarks(ctx, cache, m, runs, allMarks)
}

// segments returns the list as the segments have it, without what is in memory.
func (l List) segments() List {
	v := *l.v
	for _, tree := range v.Trees() {
		tree.Runs = tree.Runs[:len(v.Files.Files)]
	}
	l.v = &v
	return l
}

// runs returns the runs that may have links of the list.
func (l List) runs() []lsm.Run {
	hash := ByTarget.Hash(l.Prefix)
	var runs []lsm.Run
	for _, r := range l.v.Targets.Runs {
		if r.MayContain(hash, l.Prefix) {
			runs = append(runs, r)
		}
	}
	return runs
}

// cachedMarks returns the cached marks of the first of these runs, or of all; nil when there are none.
func (l List) cachedMarks(cache *segment.Cache, kind string, runs []lsm.Run) *firstMarks {
	m, _ := cache.Derived(kind + string(l.Prefix)).(*firstMarks)
	if m == nil || len(m.runs) > len(runs) || m.horizon > l.horizon {
		return nil
	}
	for i, id := range m.runs {
		if runs[i].ID() != id {
			return nil
		}
	}
	return m.over(runs)
}

// extendMarks returns the marks of all these runs from those of the first of them, which may be nil, and caches them.
// Nil: an account's id doesn't fit.
func (l List) extendMarks(ctx context.Context, cache *segment.Cache, m *firstMarks, runs []lsm.Run, kind string) (
	*firstMarks, error,
) {
	if m == nil {
		m = newFirstMarks()
		m.horizon = l.horizon
	}
	if len(m.parts) == len(runs) && m.horizon == l.horizon {
		return m, nil
	}
	m = m.clone(runs)
	if m.horizon < l.horizon {
		err := m.raise(ctx, l)
		if err != nil {
			return nil, err
		}
	}
	for _, r := range runs[len(m.parts):] {
		ok, err := m.add(ctx, l, r)
		if !ok || err != nil {
			return nil, err
		}
	}
	err := m.resolve(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, p := range m.parts {
		if !p.shared {
			p.first.RunOptimize()
		}
	}
	// The cache may outlive the runs, so what it has holds none.
	cache.PutDerived(kind+string(l.Prefix), m.over(nil), m.memory())
	return m, nil
}
