package db

import (
	"context"
	"fmt"
	"hash/maphash"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/link"
)

// recent is the window of the newest events that were folded: the newest revision that was told of each of their records,
// of what changed nothing as well. By it a repeat is told from an event that is late: one that the hosts followed before
// have lost. docs/design.md has the rule, and why it holds.
//
// To note an event costs an append; what was noted is sorted into a map when it is first asked for, so that a host that
// only sends what is new pays for no map. A record is known by a keyed hash of 64 bits: with a million in the window, one
// event in 10^13 that is late is taken for a repeat by chance, and nobody who knows no key can make it so.
type recent struct {
	seed       maphash.Seed
	hash       maphash.Hash
	max        int        // events in a half
	young, old recentHalf // when the young half is full, the old one goes
	sinceUS    int64      // whatever was folded of a later time is in the window
	loadTo     uint64     // the newest row of the log that was to be read before the window is asked; 0: it was
}

type recentHalf struct {
	n       int
	fromUS  int64               // the time of the first event
	toUS    int64               // the newest time of any, as recentTime has it
	told    []toldOf            // not yet in revs
	revs    map[uint64]uint64   // the newest revision, by the record's hash
	deleted map[uint64]deletion // accounts that were deleted, or are so no longer
}

// deletion is the last change of an account into the status deleted, or out of it.
type deletion struct {
	rev uint64 // the account's newest then; 0: not known
	us  int64  // the newest time of any event
}

type toldOf struct{ record, rev uint64 }

const (
	// defaultRecent bounds the events in a half: 8 MiB, and 20 more once a map was made of them. That is three minutes at
	// 3,000 events a second, the network's peaks, and 17 at its average.
	defaultRecent = 1 << 19
	// recentUS is how long a half lasts at least, unless it is full: the window covers what is recentUS less maxSkewUS old,
	// and that is twice the overlap in which another host is taken up.
	recentUS = 15 * 60 * 1_000_000
	// recentLeast is how many events a half has at least: twice the rewind of a stream, however slow it is.
	recentLeast = 1 << 14
	// recentBefore is how many rows of the log behind the window tell up to which time the log was.
	recentBefore = 1 << 12
)

func newRecent(max int, loadTo uint64, newestUS int64) recent {
	if max <= 0 {
		max = defaultRecent
	}
	return recent{seed: maphash.MakeSeed(), max: max, loadTo: loadTo, sinceUS: newestUS}
}

// record is a record's hash.
func (w *recent) record(did, collection, rkey string) uint64 {
	w.hash.SetSeed(w.seed)
	for _, part := range [...]string{did, collection, rkey} { // none has a zero byte once it is valid
		_, _ = w.hash.WriteString(part)
		_ = w.hash.WriteByte(0)
	}
	return w.hash.Sum64()
}

// recentTime is when an event happened, as the window has it: by the account's clock, or by the upstream's where that is
// behind, for a revision of the future must not make the window seem short.
func recentTime(rev uint64, timeUS int64) int64 { return min(link.TIDTimeUS(rev), timeUS) }

// note notes an event of a record.
func (w *recent) note(record, rev uint64, timeUS int64) {
	w.turn(timeUS)
	w.young.add(record, rev, timeUS)
}

// noteDeleted notes that an account was deleted, or is so no longer.
func (h *recentHalf) noteDeleted(actor uint64, d deletion) {
	if h.deleted == nil {
		h.deleted = map[uint64]deletion{}
	}
	h.deleted[actor] = d
}

// turn lets the old half go when the young one is full.
func (w *recent) turn(timeUS int64) {
	if y := &w.young; y.n < w.max && (y.n < recentLeast || timeUS-y.fromUS < recentUS) {
		return
	}
	if w.old.n > 0 {
		w.sinceUS = max(w.sinceUS, w.old.toUS)
	}
	spare := w.old.told[:0]
	w.old, w.young = w.young, recentHalf{told: spare}
}

func (h *recentHalf) add(record, rev uint64, timeUS int64) {
	us := recentTime(rev, timeUS)
	if h.n == 0 {
		h.fromUS, h.toUS = timeUS, us
	}
	h.n++
	h.toUS = max(h.toUS, us)
	h.told = append(h.told, toldOf{record, rev})
}

// newest is the newest revision of a record in a half.
func (h *recentHalf) newest(record uint64) (rev uint64, ok bool) {
	if len(h.told) > 0 && h.revs == nil {
		h.revs = make(map[uint64]uint64, len(h.told))
	}
	for _, t := range h.told {
		if was, ok := h.revs[t.record]; !ok || was < t.rev {
			h.revs[t.record] = t.rev
		}
	}
	h.told = h.told[:0]
	rev, ok = h.revs[record]
	return rev, ok
}

// newest is the newest revision that was told of a record in the window.
func (w *recent) newest(record uint64) (rev uint64, ok bool) {
	young, inYoung := w.young.newest(record)
	old, inOld := w.old.newest(record)
	return max(young, old), inYoung || inOld
}

// beforeDeletion says that an event was there, or was buried, when its account was last deleted or came back.
func (w *recent) beforeDeletion(actor, rev uint64, timeUS int64) bool {
	d, ok := w.young.deleted[actor]
	if !ok {
		d, ok = w.old.deleted[actor]
	}
	return ok && (rev <= d.rev || timeUS <= d.us)
}

// covers says that whatever was folded of an event's record since the event must be in the window.
func (w *recent) covers(rev uint64, timeUS int64) bool {
	return recentTime(rev, timeUS) > w.sinceUS+codec.MaxSkewUS
}

// loadRecent reads the window from before the start from the log, which has what changed something.
func (f *fold) loadRecent() {
	w := &f.w.recent
	upTo := w.loadTo
	if upTo == 0 {
		return
	}
	if w.loadTo = 0; w.old.n > 0 { // it is full of what came since
		return
	}
	if err := f.readRecent(upTo); err != nil {
		f.d.fail(fmt.Errorf("read the newest events from the log: %w", err))
	}
}

func (f *fold) readRecent(upTo uint64) error {
	w := &f.w.recent
	rows, err := f.w.beside.QueryContext(context.Background(), `SELECT seq, time_us, op, actor, did, ifnull(nsid, ''), rkey, ifnull(rev, 0),
		ifnull(records.status, 0) FROM records JOIN actors ON actors.id = actor LEFT JOIN collections ON collections.id = collection
		WHERE seq BETWEEN ? AND ? AND op IN (1, 2, 3, 4, 6) ORDER BY seq`, int64(upTo)-int64(w.max)-recentBefore+1, int64(upTo))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	first, sinceUS, newestUS := uint64(0), int64(0), int64(0)
	for rows.Next() {
		var r row
		var did, nsid string
		var rkey any
		var rev int64 // a TID may use the sign bit
		if err := rows.Scan(&r.seq, &r.timeUS, &r.op, &r.actor, &did, &nsid, &rkey, &rev, &r.status); err != nil {
			return err
		}
		r.rev = uint64(rev)
		if r.rkey, err = codec.DecodeRkeyColumn(rkey); err != nil {
			return err
		}
		if first == 0 {
			first = r.seq
		}
		newestUS = max(newestUS, r.timeUS)
		switch {
		case r.op == OpAccount:
			if Status(r.status>>4&7) == StatusDeleted || Status(r.status&15) == StatusDeleted {
				w.old.noteDeleted(r.actor, deletion{us: newestUS})
			}
		case r.rkey != nil:
			if r.seq < first+recentBefore {
				sinceUS = max(sinceUS, recentTime(r.rev, r.timeUS))
			}
			w.old.add(w.record(did, nsid, codec.RkeyString(r.rkey)), r.rev, r.timeUS)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	switch first {
	case 0: // of the log nothing is left
	case 1: // it is all there
		w.sinceUS = 0
	default:
		w.sinceUS = sinceUS
	}
	return nil
}
