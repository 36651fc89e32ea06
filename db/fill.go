package db

import "weft.dev/weft/db/apply"

// Repo lists all records of an account, as a resync sent them.
type Repo struct {
	DID     string
	Records map[Record]struct{} // with an empty DID: it is the account's
}

// Fill applies the events of a gap that no newer event supersedes, in their order, although later events were applied
// before. It also applies repos: it removes the records of an account that are not in its repo, except those that an
// open resync of the account has sent. It moves no cursor.
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
	s.cfg.Pacer.BeginCommit()
	defer s.cfg.Pacer.EndCommit()
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

// pruneRepo removes the records of an account that its repo doesn't have, and commits in parts if they are many. It
// returns the last part, which is not committed.
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
