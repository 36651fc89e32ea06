package db

import "weft.dev/weft/db/apply"

// Repo is all records of an account, as a resync sent them.
type Repo struct {
	DID     string
	Records map[Record]struct{} // DID empty: it is the account's
}

// Fill applies the events of a gap that nothing newer supersedes, in their order, whatever was applied since, and
// repos: records that are not in an account's repo are removed. It moves no cursor. Of an account with an open resync,
// the records that the resync has sent stay.
func (s *Store) Fill(events []apply.Event, repos []Repo) (apply.Counts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return apply.Counts{}, err
	}
	s.waits.begin(s.cfg.Now())
	defer s.waits.end()
	if err := s.awaitRoom(); err != nil {
		return apply.Counts{}, err
	}
	at := func(*part, int) progress { return progress{} }
	f, err := s.applyEvents(s.newPart(apply.Origin{Fill: true}), events, at)
	if err != nil {
		return apply.Counts{}, err
	}
	for i := range repos {
		f, err = s.pruneRepo(f, &repos[i], at)
		if err != nil {
			return apply.Counts{}, err
		}
	}
	if err := s.commit(f, at(f, len(events))); err != nil {
		return apply.Counts{}, err
	}
	if s.state.JobCount() > 0 {
		wake(s.jobWork)
	}
	return f.Totals(), nil
}

// pruneRepo removes an account's records that its repo doesn't have, and commits where they are many. It returns the
// last part, which is not committed.
func (s *Store) pruneRepo(f *part, r *Repo, at func(f *part, i int) progress) (*part, error) {
	p := f.NewRepoPruning(r.DID, r.Records)
	for !f.PruneRepo(p) {
		var err error
		f, err = s.commitPart(f, at(f, 0))
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}
