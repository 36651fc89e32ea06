package db

// Repo is all records of an account, as a resync gave them.
type Repo struct {
	DID     string
	Records map[Record]struct{} // DID empty: it is the account's
}

// Fill folds what a gap had hidden: events that nothing newer has overtaken, in their order, whatever has come since, and
// repos, of which all that isn't in them goes. It moves no cursor. Of an account whose repo is being replaced, what the
// resync has told already stays.
func (s *Store) Fill(events []Event, repos []Repo) (Applied, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return Applied{}, err
	}
	s.waits.begin(s.cfg.Now())
	defer s.waits.end()
	v := s.version.Load()
	f := &fold{s: &s.Index, w: s, d: newDelta(v), fill: true, seq: v.seq, maxUS: v.maxUS}
	// What is filled is old, and doesn't make the newest event newer.
	at := func(f *fold, _ int) progress {
		f.maxUS = v.maxUS
		return progress{}
	}
	f, err := s.foldEvents(f, events, at)
	if err != nil {
		return Applied{}, err
	}
	for _, r := range repos {
		f.prune(&r)
	}
	if err := s.finish(f, at(f, len(events))); err != nil {
		return Applied{}, err
	}
	if len(s.jobs) > 0 {
		wake(s.jobWork)
	}
	f.total.add(f.stats)
	return f.total, nil
}

// prune removes an account's records that its repo hasn't.
func (f *fold) prune(r *Repo) {
	actor, known := f.actor(r.DID)
	if !known || f.s.resyncs[actor] != nil {
		return
	}
	keep := map[string]struct{}{}
	for record := range r.Records {
		if collection, ok := f.collection(record.Collection, false); ok {
			keep[string(recordKey(nil, actor, collection, appendRkey(nil, record.Rkey)))] = struct{}{}
		}
	}
	f.eachRecord(actor, func(key, value, rkey []byte, links []recordLink) {
		if _, ok := keep[string(key)]; ok {
			return
		}
		_, collection, _, _ := cutRecordKey(key)
		f.change(key, value, nil, 0, actor, rkey, links, nil)
		f.log(row{op: OpDelete, actor: actor, collection: collection, rkey: rkey, rev: f.d.rev(actor), was: f.s.bodies.current(value)}, links, nil)
	})
}
