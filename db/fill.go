package db

import "weft.dev/weft/db/codec"

// Repo is all records of an account, as a resync sent them.
type Repo struct {
	DID     string
	Records map[Record]struct{} // DID empty: it is the account's
}

// Fill applies the events of a gap that nothing newer supersedes, in their order, whatever was applied since, and
// repos: records that are not in an account's repo are removed. It moves no cursor. Of an account with an open resync,
// the records that the resync has sent stay.
func (s *Store) Fill(events []Event, repos []Repo) (Applied, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return Applied{}, err
	}
	s.waits.begin(s.cfg.Now())
	defer s.waits.end()
	if err := s.awaitRoom(); err != nil {
		return Applied{}, err
	}
	v := s.core.Snapshot()
	f := s.newApplier(0)
	f.fill = true
	// What is filled is old, and doesn't make the newest event newer.
	at := func(f *applier, _ int) progress {
		f.maxUS = v.MaxUS
		return progress{}
	}
	f, err := s.applyEvents(f, events, at)
	if err != nil {
		return Applied{}, err
	}
	for i := range repos {
		f, err = s.pruneRepo(f, &repos[i], at)
		if err != nil {
			return Applied{}, err
		}
	}
	if err := s.commit(f, at(f, len(events))); err != nil {
		return Applied{}, err
	}
	if len(s.jobs) > 0 {
		wake(s.jobWork)
	}
	f.total.add(f.stats)
	return f.total, nil
}

// pruneRepo removes an account's records that its repo doesn't have, and commits where they are many. It returns the
// last part, which is not committed.
func (s *Store) pruneRepo(f *applier, r *Repo, at func(f *applier, i int) progress) (*applier, error) {
	actor, known := f.actor(r.DID)
	if !known {
		return f, nil
	}
	keep := map[string]struct{}{}
	for record := range r.Records {
		if collection, ok := f.collection(record.Collection, false); ok {
			keep[string(codec.RecordKey(nil, actor, collection, codec.AppendRkey(nil, record.Rkey)))] = struct{}{}
		}
	}
	kept := func(key []byte) bool {
		_, ok := keep[string(key)]
		return ok
	}
	var after []byte
	for f.state.resyncs[actor] == nil { // asked again: while a commit waits for a seal, Apply may have opened one
		upTo, ended := f.removeBehind(after, actor, f.d.rev(actor), kept)
		if ended {
			break
		}
		var err error
		f, err = s.commitPart(f, at(f, 0))
		if err != nil {
			return nil, err
		}
		after = upTo
	}
	return f, nil
}
