package apply

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/parallel"
)

const (
	// prefetchEvents is the number of events of a prefetch: enough look-ups for many cores.
	prefetchEvents = 1024
	// prefetchValue is the largest value of a record that is kept, in bytes, so that all take 4 MiB at most. Nearly all
	// records have a few links of some ten bytes each.
	prefetchValue = 4 << 10
)

// Prefetch looks up what the events of a batch from i on need of the base, if i is the first of prefetchEvents: the
// accounts that are not in the cache of ids, and the records. These look-ups take most of the time of an event in a
// large index, and a snapshot answers them on all cores; the events themselves are applied one after the other. It
// changes no answer: what the batch itself changes is looked for first, and the base stays the same until the next
// commit. A look-up that fails, or finds a large value, is left to the event.
//
// On one core it does nothing: to collect what is looked up takes about a microsecond an event (profiles of
// bench/storage).
func (f *Applier) Prefetch(batch []Event, i int, logger *slog.Logger) {
	if i%prefetchEvents != 0 || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	events := batch[i:min(i+prefetchEvents, len(batch))]
	f.d.prefetched.begin(events)
	f.prefetchAccounts(logger)
	f.prefetchRecords(logger)
}

// prefetched is what the base has for the next events.
type prefetched struct {
	absent   map[string]struct{} // names that it doesn't have
	events   []Event
	perEvent []prefetchedEvent
	accounts []prefetchedAccount
	hashed   []hashedName // scratch
	at       int          // how many of the events the applier has begun
}

// prefetchedEvent is what the base has for an event.
type prefetchedEvent struct {
	from, to int    // its accounts: its own, then those of its targets
	key      []byte // of its record; nil: it was not looked up
	value    []byte // of its record; nil: the base doesn't have the record
}

// prefetchedAccount is an account of an event; id is 0 where the cache of ids didn't have it.
type prefetchedAccount struct {
	did string
	id  uint64
}

// begin begins a prefetch for events.
func (p *prefetched) begin(events []Event) {
	if p.absent == nil {
		p.absent = map[string]struct{}{}
	}
	*p = p.emptied()
	p.events = events
	p.perEvent = slices.Grow(p.perEvent, len(events))[:len(events)]
}

// emptied returns nothing, with the memory of p.
func (p *prefetched) emptied() prefetched {
	clear(p.absent)
	clear(p.perEvent)
	clear(p.accounts)
	return prefetched{absent: p.absent, perEvent: p.perEvent[:0], accounts: p.accounts[:0], hashed: p.hashed}
}

// next notes that an event is applied. Events are applied in their order.
func (p *prefetched) next(e *Event) {
	if p.at < len(p.events) && e == &p.events[p.at] {
		p.at++
	}
}

// record returns the value of the present event's record; ok is false where it is not known.
func (p *prefetched) record(key []byte) (value []byte, ok bool) {
	if p.at == 0 || !bytes.Equal(p.perEvent[p.at-1].key, key) {
		return nil, false
	}
	return p.perEvent[p.at-1].value, true
}

// account returns the id of one of the present event's accounts; 0: it is not known.
func (p *prefetched) account(did string) (id uint64) {
	if p.at == 0 {
		return 0
	}
	e := &p.perEvent[p.at-1]
	for _, a := range p.accounts[e.from:min(e.to, e.from+accountsPerEvent)] {
		if a.did == did {
			return a.id
		}
	}
	return 0
}

// accountsPerEvent is the number of accounts of an event that are searched. Most events have two, and one of a thousand
// links would take half a million comparisons.
const accountsPerEvent = 8

// prefetchAccounts looks up the ids of the events' accounts and of those that they link to: it keeps those from the
// cache of ids, and caches the others.
func (f *Applier) prefetchAccounts(logger *slog.Logger) {
	p := &f.d.prefetched
	ids := &f.history.ids
	for i := range p.events {
		e := &p.events[i]
		p.perEvent[i].from = len(p.accounts)
		p.accounts = append(p.accounts, prefetchedAccount{did: e.DID})
		links := e.Links
		if f.mayRepeat(e) { // most repeats are known as such without their links
			links = nil
		}
		for _, l := range links {
			if did := accountOf(l.Target); did != "" {
				p.accounts = append(p.accounts, prefetchedAccount{did: did})
			}
		}
		p.perEvent[i].to = len(p.accounts)
	}
	// The sets of the cache lie anywhere in memory: with the hashes at hand, the processor reads several at once.
	p.hashed = p.hashed[:0]
	for i := range p.accounts {
		f.setName(codec.KindDID, 0, p.accounts[i].did)
		p.hashed = append(p.hashed, ids.hash(f.val))
	}
	var names []string // those that are not cached
	for i := range p.accounts {
		a := &p.accounts[i]
		a.id, _ = ids.getHashed(p.hashed[i])
		if a.id == 0 {
			f.setName(codec.KindDID, 0, a.did)
			if _, listed := p.absent[string(f.val)]; !listed {
				name := string(f.val)
				p.absent[name] = struct{}{}
				names = append(names, name)
			}
		}
	}
	f.prefetchNames(names, logger)
}

// prefetchNames caches the ids of names, and takes those that the base has from the absent ones.
func (f *Applier) prefetchNames(names []string, logger *slog.Logger) {
	ids := make([]uint64, len(names))
	isAbsent := make([]bool, len(names))
	parallel.Do(logger, "look-ups of names", len(names), func(i int) {
		id, ok, err := f.d.base.ID([]byte(names[i]))
		ids[i] = id
		isAbsent[i] = !ok && err == nil
	})
	for i, name := range names {
		if isAbsent[i] {
			continue
		}
		delete(f.d.prefetched.absent, name)
		if ids[i] != 0 {
			f.history.ids.put([]byte(name), ids[i])
		}
	}
}

// prefetchRecords reads the values of the events' records.
func (f *Applier) prefetchRecords(logger *slog.Logger) {
	p := &f.d.prefetched
	for i := range p.events {
		e := &p.events[i]
		if e.Op != logrow.OpCreate && e.Op != logrow.OpUpdate && e.Op != logrow.OpDelete || f.mayRepeat(e) {
			continue // most repeats are known as such without their record
		}
		actor := p.accounts[p.perEvent[i].from].id
		if actor == 0 {
			actor = f.cachedID(codec.KindDID, e.DID)
		}
		collection := f.cachedID(codec.KindCollection, e.Collection)
		if actor != 0 && collection != 0 {
			f.key = codec.AppendRkey(codec.RecordKey(f.key[:0], actor, collection, nil), e.Rkey)
			p.perEvent[i].key = f.d.arena.copy(f.key)
		}
	}
	parallel.Do(logger, "look-ups of records", len(p.perEvent), func(i int) {
		r := &p.perEvent[i]
		if r.key == nil {
			return
		}
		value, err := f.d.base.FindRecord(r.key, recordHint(p.events[i].Op))
		if err != nil || len(value) > prefetchValue {
			r.key = nil
			return
		}
		r.value = bytes.Clone(value) // it may be part of a block, which would stay in memory
	})
}

// cachedID returns the id of an account or a collection from the cache; 0: the cache doesn't have it.
func (f *Applier) cachedID(kind byte, name string) uint64 {
	f.setName(kind, 0, name)
	id, _ := f.history.ids.get(f.val)
	return id
}

// accountOf returns the account of a target; empty: it has none. It doesn't validate the target: the name of a
// malformed one is looked up for nothing.
func accountOf(target string) (did string) {
	did, _, _ = strings.Cut(strings.TrimPrefix(target, "at://"), "/")
	if !strings.HasPrefix(did, "did:") {
		return ""
	}
	return did
}
