package db

import (
	"maps"
	"time"

	"weft.dev/weft/db/apply"
)

// defaultJobRest is longer than a batch waits for events: an account that changes its status with each batch costs no
// steps.
const defaultJobRest = time.Second

// runJobs runs the jobs a step at a time until none is due.
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
	if s.Failed() != nil || s.room.paused.Load() { // the end of a pause wakes the worker
		return false, nil
	}
	actor, ok := s.nextJob(s.cfg.Now())
	if !ok {
		return false, nil
	}
	if err := s.failpoint("job"); err != nil {
		return false, err
	}
	return true, s.commitStep(actor)
}

// nextJob picks an account whose job is due. If all jobs rest, it sets the timer that wakes the worker.
func (s *Store) nextJob(now time.Time) (actor uint64, ok bool) {
	wait := time.Duration(0)
	for actor := range s.state.JobActors() {
		left := s.rests[actor].until.Sub(now)
		if left <= 0 {
			return actor, true
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	if wait > 0 {
		s.jobTimer.Reset(wait)
	}
	return 0, false
}

// rest is the time of an account's last change of status by a job, and the end of its rest.
type rest struct{ changed, until time.Time }

// restWithin is the time for which a change is remembered, as a multiple of the rest.
const restWithin = 10

// restJobs pauses the jobs of accounts that change their status repeatedly: otherwise each step would be undone by a
// later one.
func (s *Store) restJobs(jobbed []uint64, now time.Time) {
	if s.cfg.JobRest < 0 {
		return
	}
	maps.DeleteFunc(s.rests, func(_ uint64, r rest) bool { return now.Sub(r.changed) > restWithin*s.cfg.JobRest })
	for _, actor := range jobbed {
		r := rest{changed: now}
		if _, again := s.rests[actor]; again {
			r.until = now.Add(s.cfg.JobRest)
		}
		s.rests[actor] = r
	}
}

// finishJob runs an account's job to its end.
func (s *Store) finishJob(actor uint64) error {
	for s.state.HasJob(actor) {
		if err := s.commitStep(actor); err != nil {
			return err
		}
		if err := s.awaitRoom(); err != nil {
			return err
		}
	}
	return nil
}

// commitStep commits a step of a job.
func (s *Store) commitStep(actor uint64) error {
	f := s.newPart(apply.Origin{TimeUS: s.cfg.Now().UnixMicro()})
	f.StepJob(actor)
	return s.commit(f, progress{})
}
