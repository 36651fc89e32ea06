package db

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"weft.dev/weft/db/index"
)

// commitBytes bounds the changes of a part of a batch, as delta.bytes counts them: some 80,000 links. Beyond it the
// part is committed, so that neither the memory nor the time of a batch depends on what its events mean. A batch of
// 1,000 events changes a thirtieth of it.
const commitBytes = 16 << 20

// Apply applies a batch and commits it with its upstream's cursor, in one transaction, or in several where its events
// change much: each ends at an event, with the cursor there. Queries see the changes when it returns. While the disk has
// no room it waits, before each part. After ErrPaused the parts before are committed, and a further call may succeed;
// after any other error no change of the failed part remains, and every further call fails.
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
	s.waits.begin(s.cfg.Now())
	defer s.waits.end()
	if err := s.awaitRoom(); err != nil {
		return Applied{}, err
	}
	at := func(f *applier, i int) progress { return s.progressAt(&b, f, i) }
	f, err := s.applyEvents(s.beginBatch(b.Host), b.Events, at)
	if err != nil {
		return Applied{}, err
	}
	f.advanceTime(timeUS)
	for !f.endIdleResyncs() {
		f, err = s.commitPart(f, s.moved(&b, f, seq, timeUS))
		if err != nil {
			return Applied{}, err
		}
		f.advanceTime(timeUS)
	}
	if err := s.commit(f, s.moved(&b, f, seq, timeUS)); err != nil {
		return Applied{}, err
	}
	s.rows = f.rows
	if len(s.jobs) > 0 {
		wake(s.jobWork)
	}
	f.total.add(f.stats)
	return f.total, nil
}

// newApplier returns the applier of a commit after the present snapshot.
func (s *Store) newApplier(nowUS int64) *applier {
	f := newApplier(&s.state, &s.history, s.core.Snapshot())
	f.nowUS = nowUS
	return f
}

// beginBatch returns the applier of the first part of a host's batch.
func (s *Store) beginBatch(host string) *applier {
	v := s.core.Snapshot()
	f := s.newApplier(0)
	f.host = host
	f.high = v.Upstreams[host].High
	f.rows = s.rows.emptied()
	f.latestUS = latestTime(s.cfg.Now().UnixMicro(), v.MaxUS)
	for other, up := range v.Upstreams {
		f.otherHosts = f.otherHosts || up.High > 0 && other != host || up.Instance > 1
	}
	f.out = s.newWriting()
	return f
}

// applyEvents applies events, and commits them in parts where they change much; at returns the upstream's progress
// before an event. It returns the last part, which is not committed.
func (s *Store) applyEvents(f *applier, events []Event, at func(f *applier, i int) progress) (*applier, error) {
	for i := range events {
		var err error
		if _, waits := f.unfinished(&events[i]); f.stats.Events > 0 && (waits || f.d.bytes >= commitBytes) {
			f, err = s.commitPart(f, at(f, i))
			if err != nil {
				return nil, err
			}
		}
		// Asked again: while a commit waits for a seal, Fill may have begun a job.
		if actor, waits := f.unfinished(&events[i]); waits {
			if err := s.finishJob(actor); err != nil {
				return nil, err
			}
			f = s.nextPart(f)
		}
		for !f.event(&events[i]) {
			f, err = s.commitPart(f, at(f, i))
			if err != nil {
				return nil, err
			}
		}
		if f.out != nil && f.stats.Events%aheadEvents == 0 {
			f.out.ahead(&f.rows)
		}
	}
	return f, nil
}

// commitPart commits a part of a batch, and returns the next when the disk has room for it.
func (s *Store) commitPart(f *applier, up progress) (*applier, error) {
	if err := s.commit(f, up); err != nil {
		return nil, err
	}
	if err := s.awaitRoom(); err != nil {
		return nil, err
	}
	if err := s.failpoint("part"); err != nil {
		return nil, s.fail(err)
	}
	return s.nextPart(f), nil
}

// nextPart returns the applier of the batch's next part, after a commit.
func (s *Store) nextPart(f *applier) *applier {
	next := s.newApplier(f.nowUS)
	next.host = f.host
	next.high = f.high
	next.fill = f.fill
	next.otherHosts = f.otherHosts
	next.maxUS = max(f.maxUS, next.maxUS)
	next.latestUS = f.latestUS
	next.rows = f.rows.emptied()
	next.total = f.total
	next.total.add(f.stats)
	if f.out != nil {
		next.out = s.newWriting()
	}
	return next
}

// progressAt returns the progress of a batch's upstream before an event. Before the first event, and between events of
// the same number, the upstream has not moved.
func (s *Store) progressAt(b *Batch, f *applier, i int) progress {
	if i == 0 {
		return progress{}
	}
	before := &b.Events[i-1]
	if before.Seq >= b.Events[i].Seq || before.Seq > math.MaxInt64 {
		return progress{}
	}
	return s.moved(b, f, before.Seq, before.TimeUS)
}

// moved returns the progress of a batch's upstream at an event.
func (s *Store) moved(b *Batch, f *applier, seq uint64, timeUS int64) progress {
	v := s.core.Snapshot()
	up := progress{host: b.Host, upstream: v.Upstreams[b.Host].Moved(cmp.Or(b.Kind, "v2"), seq, timeUS), maxUS: f.maxUS}
	up.upstream.High = max(up.upstream.High, min(f.high, math.MaxInt64))
	up.upstream.Epoch = v.EpochOf(b.Host)
	if v.StartedUS == 0 {
		up.firstUS = timeUS
		if len(b.Events) > 0 {
			up.firstUS = b.Events[0].TimeUS
		}
	}
	return up
}

// progress is the new position of an upstream.
type progress struct {
	host     string // empty: no upstream has moved
	upstream index.Upstream
	maxUS    int64 // the newest time of any event
	firstUS  int64 // time of the first event ever; 0: known already
	spelling spellingStep
}

// commit commits an applier's changes and publishes them.
func (s *Store) commit(f *applier, up progress) error {
	w := f.out
	if w == nil {
		w = s.newWriting()
	}
	defer w.end()
	if err := f.d.err; err != nil {
		return s.fail(fmt.Errorf("db: apply a batch of %d events: %w", f.stats.Events, err))
	}
	// What the log takes and what the runs take don't depend on each other: with a second core, the runs cost no time.
	var flushed sync.WaitGroup
	flushed.Go(func() {
		defer logPanic(s.cfg.Logger, "flush")
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
	next.Seq, next.Actors, next.Hiding, next.Jobs = f.seq, s.next['d'], s.hiding(), len(s.jobs)
	next.MaxUS = max(next.MaxUS, f.maxUS)
	next.Sums = w.sums
	if up.firstUS != 0 {
		next.StartedUS = up.firstUS
	}
	s.publish(next, up.host, up.upstream)
	s.waits.committed(s.cfg.Now())
	s.restJobs(f, time.Now())
	s.checkpointIfDue()
	s.sealIfLarge()
	return nil
}

// publish makes a snapshot the present one.
func (s *Store) publish(v *index.Snapshot, host string, up index.Upstream) {
	if host != "" {
		v.Upstreams = maps.Clone(v.Upstreams)
		v.Upstreams[host] = up
	}
	s.core.SetSnapshot(v)
	s.commits.fire()
}
