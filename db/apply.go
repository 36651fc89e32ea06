package db

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"sync"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/panics"
)

// Apply applies a batch and commits it with its upstream's cursor, in one transaction, or in several parts if its
// events change much. Each part ends at an event, with the cursor there; the parts that end the resyncs of silent
// accounts leave it before the last event. Queries see the changes when Apply returns.
// Apply waits before each part while the disk has no room. After ErrPaused the earlier parts are committed, and a
// further call may succeed. After any other error no change of the failed part remains, and every further call fails.
func (s *Store) Apply(b Batch) (apply.Counts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return apply.Counts{}, err
	}
	seq, timeUS := b.end()
	if seq == 0 && len(b.Events) == 0 {
		return apply.Counts{}, nil
	}
	s.waits.begin(s.cfg.Now())
	defer s.waits.end()
	if err := s.awaitRoom(); err != nil {
		return apply.Counts{}, err
	}
	s.cfg.Pacer.BeginCommit()
	defer s.cfg.Pacer.EndCommit()
	at := func(f *part, i int) progress { return s.progressAt(&b, f, i) }
	f, err := s.beginBatch(&b)
	if err != nil {
		return apply.Counts{}, err
	}
	f, err = s.applyEvents(f, b.Events, at)
	if err != nil {
		return apply.Counts{}, err
	}
	f.AdvanceTime(timeUS)
	for !f.EndIdleResyncs() {
		f, err = s.commitPart(f, s.progressBeforeLast(&b, f))
		if err != nil {
			return apply.Counts{}, err
		}
		f.AdvanceTime(timeUS)
	}
	if err := s.commit(f, s.moved(&b, f, seq, timeUS)); err != nil {
		return apply.Counts{}, err
	}
	total := f.Totals()
	s.buffers = f.Buffers()
	if s.state.JobCount() > 0 {
		wake(s.jobWork)
	}
	return total, nil
}

// part is the changes of one commit.
type part struct {
	*apply.Applier
	out *writing // writes rows while later events are applied; nil: the commit writes all rows
}

// newPart returns the changes of a commit after the present snapshot.
func (s *Store) newPart(from apply.Origin) *part {
	return &part{Applier: apply.New(s.state, s.history, s.core.Snapshot(), from)}
}

// beginBatch returns the first part of a batch.
func (s *Store) beginBatch(b *Batch) (*part, error) {
	v := s.core.Snapshot()
	up := v.Upstreams[b.Host]
	from := apply.Origin{Host: b.Host, High: up.High, ClockUS: s.cfg.Now().UnixMicro()}
	for other, its := range v.Upstreams {
		from.OtherHosts = from.OtherHosts || its.High > 0 && other != b.Host || its.Instance > 1
	}
	if up.Instance <= 1 { // else the numbers of a gap may have been given to other events since
		var err error
		from.Gaps, err = s.repeatedGaps(b, up.High)
		if err != nil {
			return nil, s.fail(fmt.Errorf("db: read the gaps of %s: %w", b.Host, err))
		}
	}
	f := s.newPart(from)
	f.Reuse(s.buffers)
	s.buffers = apply.Buffers{} // until the batch is committed: what a failed one leaves is not reused
	f.out = s.newWriting()
	return f, nil
}

// applyEvents applies events, and commits them in parts if they change much. at returns the upstream's progress before
// an event. applyEvents returns the last part, which is not committed.
func (s *Store) applyEvents(f *part, events []apply.Event, at func(f *part, i int) progress) (*part, error) {
	for i := range events {
		var err error
		if _, waits := f.UnfinishedJob(&events[i]); f.Counts().Events > 0 && (waits || f.Full()) {
			f, err = s.commitPart(f, at(f, i))
			if err != nil {
				return nil, err
			}
		}
		// Jobs are checked for each event: while a commit waits for a seal, Fill may have begun a job.
		if actor, waits := f.UnfinishedJob(&events[i]); waits {
			if err := s.finishJob(actor); err != nil {
				return nil, err
			}
			f = s.nextPart(f)
		}
		f.Prefetch(events, i, s.cfg.Logger)
		for !f.Apply(&events[i]) {
			f, err = s.commitPart(f, at(f, i))
			if err != nil {
				return nil, err
			}
		}
		if f.out != nil && f.Counts().Events%aheadEvents == 0 {
			f.out.ahead(f.Rows())
		}
	}
	return f, nil
}

// commitPart commits a part of a batch. It waits until the disk has room, and returns the next part.
func (s *Store) commitPart(f *part, up progress) (*part, error) {
	if err := s.commit(f, up); err != nil {
		return nil, err
	}
	s.cfg.Pacer.EndCommit() // room comes from compactions
	err := s.awaitRoom()
	s.cfg.Pacer.BeginCommit()
	if err != nil {
		return nil, err
	}
	if err := s.failpoint("part"); err != nil {
		return nil, s.fail(err)
	}
	return s.nextPart(f), nil
}

// nextPart returns the batch's next part, after a commit.
func (s *Store) nextPart(f *part) *part {
	next := &part{Applier: f.Applier.Next(s.core.Snapshot())}
	if f.out != nil {
		next.out = s.newWriting()
	}
	return next
}

// progressAt returns the progress of a batch's upstream before an event. Before the first event, and between events of
// the same number, the upstream has not moved.
func (s *Store) progressAt(b *Batch, f *part, i int) progress {
	if i == 0 {
		return progress{}
	}
	before := &b.Events[i-1]
	if before.Seq >= b.Events[i].Seq || before.Seq > math.MaxInt64 {
		return progress{}
	}
	end, _ := b.end()
	return s.moved(b, f, min(before.Seq, end), before.TimeUS) // an event's time, which v1 counts by, may be a future one
}

// progressBeforeLast returns the progress of a batch's upstream before the last event. Parts that end the resyncs of
// silent accounts have it: after a crash between two of them the upstream sends that event again, and its batch ends
// the resyncs. The upstream may not have moved.
func (s *Store) progressBeforeLast(b *Batch, f *part) progress {
	for i := len(b.Events) - 1; i > 0; i-- {
		if up := s.progressAt(b, f, i); up.host != "" {
			return up
		}
	}
	up := s.core.Snapshot().Upstreams[b.Host]
	if up.Seq == 0 || len(b.Events) == 0 {
		return progress{}
	}
	return s.moved(b, f, up.Seq, up.US)
}

// moved returns the progress of a batch's upstream at an event.
func (s *Store) moved(b *Batch, f *part, seq uint64, timeUS int64) progress {
	v := s.core.Snapshot()
	up := progress{host: b.Host, upstream: v.Upstreams[b.Host].Moved(cmp.Or(b.Kind, "v2"), seq, timeUS), maxUS: f.MaxUS()}
	up.upstream.High = max(up.upstream.High, min(f.High(), math.MaxInt64))
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
	firstUS  int64 // time of the first event ever; 0: the store has it
	spelling spellingStep
	gap      *Gap // a gap that was found; nil: none
}

// commit commits the changes of a part and publishes them.
func (s *Store) commit(f *part, up progress) error {
	w := f.out
	if w == nil {
		w = s.newWriting()
	}
	defer w.end()
	if err := f.Err(); err != nil {
		return s.fail(fmt.Errorf("db: apply a batch of %d events: %w", f.Counts().Events, err))
	}
	// The log and the runs are written independently: with a second core, the runs take no additional time.
	var pushed sync.WaitGroup
	pushed.Go(func() {
		defer panics.Log(s.cfg.Logger, "runs in memory")
		f.PushRuns()
	})
	err := w.commit(f.Rows(), up)
	pushed.Wait()
	if err != nil {
		return s.fail(fmt.Errorf("db: commit a batch of %d events: %w", f.Counts().Events, err))
	}
	if err := f.Err(); err != nil {
		// The log has the batch and the index does not. The next start replays the log and repairs that.
		return s.fail(fmt.Errorf("db: index a batch of %d events: %w", f.Counts().Events, err))
	}
	next := f.Snapshot()
	next.Sums = w.sums
	s.core.Tail.Append(f.Rows().Log, f.Rows().Links)
	s.core.Tail.Prune(s.log.pruned)
	if up.firstUS != 0 {
		next.StartedUS = up.firstUS
	}
	s.publish(next, up.host, up.upstream)
	now := s.cfg.Now()
	s.waits.committed(now)
	s.restJobs(f.ChangedJobs(), now)
	s.checkpointIfDue()
	s.sealIfLarge()
	return nil
}

// publish makes a snapshot the current one.
func (s *Store) publish(v *index.Snapshot, host string, up index.Upstream) {
	if host != "" {
		v.Upstreams = maps.Clone(v.Upstreams)
		v.Upstreams[host] = up
	}
	s.core.SetSnapshot(v)
	s.commits.fire()
}
