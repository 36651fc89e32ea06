package db

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"sync"
)

// Apply folds a batch into the index and commits it with its upstream's cursor, in one transaction. The batch's effects
// are visible to queries when it returns. After an error nothing of the batch is, and every further call fails.
func (s *Store) Apply(b Batch) (Applied, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return Applied{}, err
	}
	seq, timeUS := b.end()
	if seq == 0 && len(b.Events) == 0 {
		return Applied{}, nil
	}
	v := s.version.Load()
	f := &fold{s: &s.Index, w: s, d: newDelta(v), host: b.Host, high: v.upstreams[b.Host].high, seq: v.seq, maxUS: v.maxUS, rows: s.rows.emptied()}
	f.latestUS = latestTime(s.cfg.Now().UnixMicro(), v.maxUS)
	for host, up := range v.upstreams {
		f.foreign = f.foreign || up.high > 0 && host != b.Host || up.instance > 1
	}
	f.out = s.newWriting()
	for i := range b.Events {
		if f.event(&b.Events[i]); i%aheadEvents == aheadEvents-1 {
			f.out.ahead(&f.rows)
		}
	}
	f.setTime(timeUS)
	f.endIdleResyncs()
	up := progress{host: b.Host, upstream: v.upstreams[b.Host].moved(cmp.Or(b.Kind, "v2"), seq, timeUS), maxUS: f.maxUS}
	up.upstream.high = max(up.upstream.high, min(f.high, math.MaxInt64))
	up.upstream.epoch = v.epochOf(b.Host)
	if v.startedUS == 0 {
		if up.firstUS = timeUS; len(b.Events) > 0 {
			up.firstUS = b.Events[0].TimeUS
		}
	}
	if err := s.finish(f, up); err != nil {
		return Applied{}, err
	}
	s.rows = f.rows
	if len(s.jobs) > 0 {
		wake(s.jobWork)
	}
	return f.stats, nil
}

// runJobs goes on with the changes of status that are under way, a step at a time, until none is left.
func (s *Store) runJobs() error {
	for !s.isClosed() {
		more, err := s.runJob()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *Store) runJob() (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Failed() != nil {
		return false, nil
	}
	for actor := range s.jobs {
		v := s.version.Load()
		f := &fold{s: &s.Index, w: s, d: newDelta(v), seq: v.seq, nowUS: s.cfg.Now().UnixMicro()}
		if err := s.step("job"); err != nil {
			return false, err
		}
		f.stepJob(actor)
		return true, s.finish(f, progress{})
	}
	return false, nil
}

// progress is how far an upstream has come.
type progress struct {
	host     string // empty: no upstream has moved
	upstream upstream
	maxUS    int64 // the newest time of any event
	firstUS  int64 // time of the first event ever; 0: known already
	spelling spellingStep
}

// finish commits what was folded and shows it.
func (s *Store) finish(f *fold, up progress) error {
	w := f.out
	if w == nil {
		w = s.newWriting()
	}
	defer w.end()
	if err := f.d.err; err != nil {
		return s.fail(fmt.Errorf("db: fold a batch of %d events: %w", f.stats.Events, err))
	}
	// What the log takes and what the runs take don't depend on each other: with a second core, the runs cost no time.
	var flushed sync.WaitGroup
	flushed.Go(func() {
		defer s.logPanic("flush")
		f.d.flush()
	})
	err := w.commit(&f.rows, up)
	flushed.Wait()
	if err != nil {
		return s.fail(fmt.Errorf("db: commit a batch of %d events: %w", f.stats.Events, err))
	}
	if err := f.d.err; err != nil {
		// The log has the batch and the index does not: the next start, which replays the log, puts that right.
		return s.fail(fmt.Errorf("db: index a batch of %d events: %w", f.stats.Events, err))
	}
	next := f.d.base
	next.seq, next.actors, next.hiding, next.jobs = f.seq, s.next['d'], s.hiding(), len(s.jobs)
	next.maxUS, next.sums = max(next.maxUS, f.maxUS), w.sums
	if up.firstUS != 0 {
		next.startedUS = up.firstUS
	}
	s.publish(next, up.host, up.upstream)
	s.checkpointIfDue()
	s.sealIfLarge()
	return nil
}

// hiding is the accounts that a job is about to hide: lists leave them out at once.
func (s *Index) hiding() map[uint64]struct{} {
	var hiding map[uint64]struct{}
	for actor, j := range s.jobs {
		if j.was && !j.is {
			if hiding == nil {
				hiding = map[uint64]struct{}{}
			}
			hiding[actor] = struct{}{}
		}
	}
	return hiding
}

// publish makes a version the one that queries see.
func (s *Store) publish(v *version, host string, up upstream) {
	if host != "" {
		v.upstreams = maps.Clone(v.upstreams)
		v.upstreams[host] = up
	}
	s.version.Store(v)
	s.commits.fire()
}
