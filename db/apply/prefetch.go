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
// On one core it does nothing: to collect what is looked up takes 1.3 µs an event (a profile of bench/storage with 100
// million links).
func (f *Applier) Prefetch(batch []Event, i int, logger *slog.Logger) {
	if i%prefetchEvents != 0 || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	events := batch[i:min(i+prefetchEvents, len(batch))]
	f.d.prefetched.events = events
	f.d.prefetched.at = 0
	f.prefetchAccounts(events, logger)
	f.prefetchRecords(events, logger)
}

// prefetched is what the base has for the next events.
type prefetched struct {
	absent  map[string]struct{} // names that it doesn't have
	events  []Event
	records []prefetchedRecord // of the events
	at      int                // how many of the events the applier has begun
}

// prefetchedRecord is a record and its value in the base.
type prefetchedRecord struct {
	key   []byte // nil: it was not looked up
	value []byte // nil: the base doesn't have the record
}

// emptied returns nothing, with the memory of p.
func (p *prefetched) emptied() prefetched {
	clear(p.absent)
	clear(p.records)
	return prefetched{absent: p.absent, records: p.records[:0]}
}

// begin notes that an event is applied. Events are applied in their order.
func (p *prefetched) begin(e *Event) {
	if p.at < len(p.events) && e == &p.events[p.at] {
		p.at++
	}
}

// record returns the value of the present event's record; ok is false where it is not known.
func (p *prefetched) record(key []byte) (value []byte, ok bool) {
	if p.at == 0 || !bytes.Equal(p.records[p.at-1].key, key) {
		return nil, false
	}
	return p.records[p.at-1].value, true
}

// prefetchAccounts caches the ids of the events' accounts and of those that they link to.
func (f *Applier) prefetchAccounts(events []Event, logger *slog.Logger) {
	if f.d.prefetched.absent == nil {
		f.d.prefetched.absent = map[string]struct{}{}
	}
	clear(f.d.prefetched.absent)
	absent := f.d.prefetched.absent // those that are not cached, at first
	var names []string
	add := func(did string) {
		if did == "" {
			return
		}
		f.val = append(append(f.val[:0], codec.KindDID), did...)
		if _, cached := f.history.ids.get(f.val); cached {
			return
		}
		if _, listed := absent[string(f.val)]; listed {
			return
		}
		name := string(f.val)
		absent[name] = struct{}{}
		names = append(names, name)
	}
	for i := range events {
		add(events[i].DID)
		if f.mayRepeat(&events[i]) {
			continue
		}
		for _, l := range events[i].Links {
			add(accountOf(l.Target))
		}
	}
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
		delete(absent, name)
		if ids[i] != 0 {
			f.history.ids.put([]byte(name), ids[i])
		}
	}
}

// prefetchRecords reads the values of the events' records.
func (f *Applier) prefetchRecords(events []Event, logger *slog.Logger) {
	records := slices.Grow(f.d.prefetched.records[:0], len(events))[:len(events)]
	clear(records)
	f.d.prefetched.records = records
	for i := range events {
		e := &events[i]
		if e.Op != logrow.OpCreate && e.Op != logrow.OpUpdate && e.Op != logrow.OpDelete || f.mayRepeat(e) {
			continue // most repeats are known as such without their record
		}
		actor, known := f.cachedID(codec.KindDID, e.DID)
		collection, collectionKnown := f.cachedID(codec.KindCollection, e.Collection)
		if known && collectionKnown {
			f.key = codec.AppendRkey(codec.RecordKey(f.key[:0], actor, collection, nil), e.Rkey)
			records[i].key = f.d.arena.copy(f.key)
		}
	}
	parallel.Do(logger, "look-ups of records", len(records), func(i int) {
		r := &records[i]
		if r.key == nil {
			return
		}
		value, err := f.d.base.FindRecord(r.key, events[i].Op != logrow.OpCreate)
		if err != nil || len(value) > prefetchValue {
			r.key = nil
			return
		}
		r.value = bytes.Clone(value) // it is part of a block, which would stay in memory
	})
}

// accountOf returns the account of a target; empty: it has none. It doesn't validate the target: the name of a malformed
// one is looked up for nothing.
func accountOf(target string) (did string) {
	did, _, _ = strings.Cut(strings.TrimPrefix(target, "at://"), "/")
	if !strings.HasPrefix(did, "did:") {
		return ""
	}
	return did
}

// cachedID returns the id of an account or a collection from the cache.
func (f *Applier) cachedID(kind byte, name string) (uint64, bool) {
	f.val = append(append(f.val[:0], kind), name...)
	return f.history.ids.get(f.val)
}
