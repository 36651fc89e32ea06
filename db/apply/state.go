package apply

import (
	"iter"
	"log/slog"
	"maps"
	"math"
	"runtime/debug"
	"time"

	"weft.dev/weft/db/body"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/logrow"
)

// StateConfig configures a State.
type StateConfig struct {
	Logger *slog.Logger     // Required.
	Now    func() time.Time // Required.
	// JobRecords is the number of records that a step of a job changes; 0: DefaultJobRecords.
	JobRecords int
	// Progress is called during a replay, with its step and its progress in log rows. Nil: no call.
	Progress func(what string, done, all uint64)
}

// State is the applier's knowledge beside the snapshot: statuses, open resyncs, jobs, the newest ids of names, and
// which bodies are stored. It outlives the applier of a commit. A replay of the log brings it back. Its caller
// serialises the calls.
type State struct {
	// Bodies says which bodies are stored. The zero value, which a replay takes: none.
	Bodies    Bodies
	config    StateConfig
	status    *statuses             // of the accounts that are not active
	resyncs   map[uint64]*resync    // by account, whose repo is being replaced
	opened    map[uint64]openResync // resyncs that the replay opens again; nil after it
	jobs      map[uint64]*job       // by account, whose status changes step by step
	next      map[byte]uint64       // the newest id of each kind of name
	keep      keep.Retention        // how long links are kept
	outBodies []uint64              // log rows whose bodies no record has, as the replay left them out
	logEnd    uint64                // the newest log row at the start of the replay, for its progress
}

// NewState returns the state of an empty index.
func NewState(cfg StateConfig) *State {
	if cfg.JobRecords <= 0 {
		cfg.JobRecords = DefaultJobRecords
	}
	s := &State{config: cfg, next: map[byte]uint64{}}
	s.reset()
	return s
}

// reset forgets the statuses, the resyncs, the jobs and the ids.
func (s *State) reset() {
	s.status = &statuses{}
	s.resyncs = map[uint64]*resync{}
	s.jobs = map[uint64]*job{}
	clear(s.next)
}

// progress reports how far a replay is.
func (s *State) progress(done uint64) {
	if s.config.Progress != nil {
		s.config.Progress("replaying the log", done, s.logEnd)
	}
}

// NameBounds returns the newest id of each kind of name.
func (s *State) NameBounds() logrow.NameBounds {
	return logrow.NameBounds{Actors: s.next[codec.KindDID], Collections: s.next[codec.KindCollection],
		Sources: s.next[codec.KindSource]}
}

// StatusOf returns an account's status.
func (s *State) StatusOf(actor uint64) logrow.Status { return s.status.of(actor) }

// hiding returns the accounts that a job is about to hide: lists omit them at once.
func (s *State) hiding() map[uint64]struct{} {
	var hiding map[uint64]struct{}
	for actor, j := range s.jobs {
		if !j.was || j.is {
			continue
		}
		if hiding == nil {
			hiding = map[uint64]struct{}{}
		}
		hiding[actor] = struct{}{}
	}
	return hiding
}

// HasJob reports whether a job changes an account's records.
func (s *State) HasJob(actor uint64) bool { return s.jobs[actor] != nil }

// JobCount returns the number of jobs.
func (s *State) JobCount() int { return len(s.jobs) }

// JobActors returns the accounts whose records a job changes, in any order.
func (s *State) JobActors() iter.Seq[uint64] { return maps.Keys(s.jobs) }

// SealedJobs returns the jobs as they are now. Later steps don't change them.
func (s *State) SealedJobs() SealedJobs { return maps.Clone(s.jobs) }

// Purged reports whether an account is deleted and its record with a key is gone with it: a job that purges the account
// may not have come to the record.
func (s *State) Purged(actor uint64, key []byte) bool {
	j := s.jobs[actor]
	return s.status.of(actor) == logrow.StatusDeleted && (j == nil || j.purged(key))
}

// Horizons returns the present horizons, also of sources that are new in this batch; nil: there are none.
func (s *State) Horizons() *keep.Horizons { return s.keep.Horizons() }

// Retention says how long links are kept.
func (s *State) Retention() *keep.Retention { return &s.keep }

// Resyncing reports whether a resync of a host's sync is open.
func (s *State) Resyncing(host string) bool {
	for _, r := range s.resyncs {
		if r.host == host {
			return true
		}
	}
	return false
}

// OldestResync returns the log row of the oldest sync whose resync is open; math.MaxUint64: none is.
func (s *State) OldestResync() uint64 {
	oldest := uint64(math.MaxUint64)
	for _, r := range s.resyncs {
		oldest = min(oldest, r.since)
	}
	return oldest
}

// Bodies says which bodies are stored. A record's value names the log row that brought its body.
type Bodies struct {
	On    bool   // new bodies are stored
	Some  bool   // there may be bodies: this store, or one before, keeps them
	Since uint64 // bodies of log rows up to here are out of date: changes of their records were not recorded for a time
	// Digest reads the digest of a log row's body; ok is false when the body is gone. It reads committed rows. Required
	// with On.
	Digest func(seq uint64) (d body.Digest, ok bool, err error)
}

// current returns the log row that brought the body of a record with this value; 0: none that is valid. Its body may be
// gone.
func (b *Bodies) current(value []byte) uint64 {
	if !b.Some {
		return 0
	}
	if seq := codec.BodyRef(value); seq > b.Since {
		return seq
	}
	return 0
}

// recoverPanic is deferred by each goroutine: a panic is logged with its name before it ends the process.
func recoverPanic(log *slog.Logger, name string) {
	if p := recover(); p != nil {
		log.Error("panic", "goroutine", name, "panic", p, "stack", string(debug.Stack()))
		panic(p)
	}
}
