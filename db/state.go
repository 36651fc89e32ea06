package db

// state is the applier's knowledge beside the snapshot: statuses, open resyncs, jobs, the newest ids of names, and the
// bodies. It outlives the applier of a commit. A replay of the log brings it back. The Index's mu guards it.
type state struct {
	config  *Config
	status  *statuses             // of the accounts that are not active
	resyncs map[uint64]*resync    // by account, whose repo is being replaced
	opened  map[uint64]openResync // resyncs that the replay opens again; nil after it
	jobs    map[uint64]*job       // by account, whose status changes step by step
	next    map[byte]uint64       // the newest id of each kind of name
	bodies  bodies
	logEnd  uint64 // the newest log row at the start of the replay, for its progress
}

// newState returns the state of an empty index.
func newState(cfg *Config) state {
	s := state{config: cfg, next: map[byte]uint64{}}
	s.reset()
	return s
}

// reset forgets the statuses, the resyncs, the jobs and the ids.
func (s *state) reset() {
	s.status = &statuses{}
	s.resyncs = map[uint64]*resync{}
	s.jobs = map[uint64]*job{}
	clear(s.next)
}

// progress reports how far an opening is.
func (s *state) progress(what string, done, all uint64) {
	if s.config.Progress != nil {
		s.config.Progress(what, done, all)
	}
}

// hiding returns the accounts that a job is about to hide: lists omit them at once.
func (s *state) hiding() map[uint64]struct{} {
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
