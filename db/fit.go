package db

import (
	"sort"
	"time"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/keep"
)

// Rules with the time "fit" keep links as long as the budget of disk space allows. Their horizon moves when the files
// leave less room than a compaction needs beside the reserve: as far as compactions then give enough back.

// fitUS returns the horizon that rules with fit have to move to now, in microseconds since 1970; 0: none of them has to
// move. The caller holds mu.
func (s *Store) fitUS() int64 {
	retention := s.state.Retention()
	now, current := retention.FitUS(s.cfg.Keep)
	if !s.cfg.Keep.Fits() || !current {
		return 0
	}
	missing := s.missingForFit()
	files := s.core.Snapshot().Files.Files
	gives := func(us int64) bool { return givesBack(files, retention.Fitted(us)) >= missing }
	newest := keep.FitNewest(s.log.US())
	enough := missing <= 0 || gives(now)
	s.room.cannotFit.Store(!enough && (newest <= now || !gives(newest)))
	if enough || newest <= now {
		return 0
	}
	second := time.Second.Microseconds()
	n := sort.Search(int((newest-now)/second), func(n int) bool { return gives(now + int64(n)*second) })
	return keep.FitStep(now+int64(n)*second, s.log.US())
}

// fits reports whether rules keep the files within the budget: it fills up, and stays full.
func (s *Index) fits() bool { return s.cfg.Keep.Fits() && !s.room.cannotFit.Load() }

// missingForFit returns how many bytes compactions have to give back, so that the largest one has room beside the
// reserve; 0 or less: none. The caller holds mu.
func (s *Store) missingForFit() int64 {
	// A horizon never goes back: files that have gone since the last look, of a compaction, must not move it.
	s.use.Forget()
	s.lookAtDisk()
	r := &s.room
	if r.total.Load() == 0 {
		return 0
	}
	largest := s.largestSegment(s.core.Snapshot().Files.Files)
	missing := largest + largest/compactionSlack + r.reserve.Load() - r.free.Load()
	missing -= s.core.RetiredBytes()        // a query still reads them; their space comes back by itself
	for g := range r.growing.Load().all() { // it is in that room already
		missing -= g.most
	}
	return missing
}

// givesBack returns how many bytes the compactions give back that are due because of horizons.
func givesBack(files []*index.File, h *keep.Horizons) (n int64) {
	for _, f := range files {
		if out := f.Out(h); outDue(out) {
			n += int64(float64(f.Bytes) * out.Share)
		}
	}
	return n
}
