package db

import (
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/lsm"
)

// outFilter drops entries that are out from a new segment, and deletes the bodies of records that are out: no query
// reads them. After a crash the next compaction drops the records again.
type outFilter struct {
	s        *Store
	horizons *keep.Horizons
	records  *lsm.CompactionIterator
	bodies   []uint64
}

func (s *Store) newOutFilter() *outFilter {
	f := &outFilter{s: s}
	if v := s.core.Snapshot(); v != nil { // nil while a lost segment is rebuilt
		f.horizons = v.Horizons
	}
	return f
}

// kept returns the filter of a run, by its id in the segment; nil: all entries stay.
func (f *outFilter) kept(run int) func(key, value []byte) ([]byte, bool, error) {
	kept := index.Kept(f.horizons, run)
	if kept == nil || run != index.RunRecords || f.s.cfg.Bodies == BodiesOff {
		return kept
	}
	return func(key, value []byte) ([]byte, bool, error) {
		in, stays, err := kept(key, value)
		if stays || err != nil {
			return in, stays, err
		}
		if seq := codec.BodyRef(value); seq > 0 {
			f.bodies = append(f.bodies, seq)
		}
		if len(f.bodies) < pruneRows {
			return in, stays, nil
		}
		return in, stays, f.end()
	}
}

// end deletes the remaining bodies.
func (f *outFilter) end() error {
	if len(f.bodies) == 0 {
		return nil
	}
	seqs := f.bodies
	f.bodies = nil
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.s.deleteOutBodies(seqs)
}

// forgetRecords subtracts records that are out from the number of records with links. The caller holds mu.
func (s *Store) forgetRecords(gone int64) {
	if gone == 0 {
		return
	}
	s.outRecords += gone
	v := *s.core.Snapshot()
	v.Linking = max(v.Linking-gone, 0)
	s.core.SetSnapshot(&v)
}
