package apply

import (
	"hash/maphash"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/link"
)

// dedupWindow holds the newest revision of each record of the newest events, also of events that changed nothing. It
// tells a repeat from an event that is out of order, which an earlier upstream lost. docs/design.md has the rule and
// its proof.
//
// Noting an event costs an append. The first question sorts the noted events into a map: a host that sends only new
// events costs no map. A keyed hash of 64 bits names a record: with a million in the window, one event in 10^13 that is
// out of order is taken for a repeat by chance, and an attacker without the key cannot cause it.
type dedupWindow struct {
	seed       maphash.Seed
	hash       maphash.Hash
	max        int        // events in a generation
	young, old generation // a full young generation replaces the old one
	sinceUS    int64      // the window has every event of a later time
	loadTo     uint64     // the newest log row to read before the first question; 0: it was read
}

// generation is a half of the window.
type generation struct {
	n       int
	fromUS  int64               // the time of the first event
	toUS    int64               // the newest eventTime
	pending []seenRev           // not yet in revs
	revs    map[uint64]uint64   // the newest revision, by the record's hash
	deleted map[uint64]deletion // by account that was deleted, or came back
}

// deletion is the last change of an account to the status deleted, or from it.
type deletion struct {
	rev uint64 // the account's newest then; 0: unknown
	us  int64  // the newest time of any event then
}

type seenRev struct{ record, rev uint64 }

const (
	// defaultDedupEvents bounds the events of a generation: 8 MiB, and 20 more with a map of them. It lasts three
	// minutes at 3,000 events a second, the network's peaks, and 17 at its average.
	defaultDedupEvents = 1 << 19
	// generationUS is how long a generation lasts at least, unless it is full: the window covers generationUS less
	// MaxSkewUS, twice the overlap with which another host is followed.
	generationUS = 15 * 60 * 1_000_000
	// generationLeast is the least number of events of a generation: twice the rewind of a stream, however slow it is.
	generationLeast = 1 << 14
	// dedupLogRows is how many log rows before the window are read to learn the time up to which the log was.
	dedupLogRows = 1 << 12
)

func newDedupWindow(max int, loadTo uint64, newestUS int64) dedupWindow {
	if max <= 0 {
		max = defaultDedupEvents
	}
	return dedupWindow{seed: maphash.MakeSeed(), max: max, loadTo: loadTo, sinceUS: newestUS}
}

// record returns the hash of a record.
func (w *dedupWindow) record(did, collection, rkey string) uint64 {
	w.hash.SetSeed(w.seed)
	for _, part := range [...]string{did, collection, rkey} { // valid ones have no zero byte
		_, _ = w.hash.WriteString(part)
		_ = w.hash.WriteByte(0)
	}
	return w.hash.Sum64()
}

// eventTime returns the time of an event by the account's clock, or by the upstream's where that is behind: a revision
// of the future must not make the window seem short.
func eventTime(rev uint64, timeUS int64) int64 { return min(link.TIDTimeUS(rev), timeUS) }

// note notes an event of a record.
func (w *dedupWindow) note(record, rev uint64, timeUS int64) {
	w.rotate(timeUS)
	w.young.add(record, rev, timeUS)
}

// noteDeleted notes that an account was deleted, or came back.
func (g *generation) noteDeleted(actor uint64, d deletion) {
	if g.deleted == nil {
		g.deleted = map[uint64]deletion{}
	}
	g.deleted[actor] = d
}

// rotate drops the old generation when the young one is full.
func (w *dedupWindow) rotate(timeUS int64) {
	young := &w.young
	if young.n < w.max && (young.n < generationLeast || timeUS-young.fromUS < generationUS) {
		return
	}
	if w.old.n > 0 {
		w.sinceUS = max(w.sinceUS, w.old.toUS)
	}
	spare := w.old.pending[:0]
	w.old = w.young
	w.young = generation{pending: spare}
}

func (g *generation) add(record, rev uint64, timeUS int64) {
	us := eventTime(rev, timeUS)
	if g.n == 0 {
		g.fromUS = timeUS
		g.toUS = us
	}
	g.n++
	g.toUS = max(g.toUS, us)
	g.pending = append(g.pending, seenRev{record, rev})
}

// index sorts the pending events into the map.
func (g *generation) index() {
	if len(g.pending) > 0 && g.revs == nil {
		g.revs = make(map[uint64]uint64, len(g.pending))
	}
	for _, seen := range g.pending {
		rev, ok := g.revs[seen.record]
		if !ok || rev < seen.rev {
			g.revs[seen.record] = seen.rev
		}
	}
	g.pending = g.pending[:0]
}

// newest returns the newest revision of a record in the window, whose generations are indexed.
func (w *dedupWindow) newest(record uint64) (rev uint64, ok bool) {
	young, inYoung := w.young.revs[record]
	old, inOld := w.old.revs[record]
	return max(young, old), inYoung || inOld
}

// beforeDeletion reports whether an event was applied, or tombstoned, when its account was last deleted or came back.
func (w *dedupWindow) beforeDeletion(actor, rev uint64, timeUS int64) bool {
	d, ok := w.young.deleted[actor]
	if !ok {
		d, ok = w.old.deleted[actor]
	}
	return ok && (rev <= d.rev || timeUS <= d.us)
}

// covers reports whether the window has every event of the record that is newer than this one.
func (w *dedupWindow) covers(rev uint64, timeUS int64) bool {
	return eventTime(rev, timeUS) > w.sinceUS+codec.MaxSkewUS
}
