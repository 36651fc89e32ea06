// Package dbtest has the reference index: maps, which are sorted for each query. Tests give it the events that they
// give the store, each once and in order, and compare every answer.
package dbtest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/link"
)

// Model is the index. The zero Model is empty.
type Model struct {
	FitUS int64 // horizon of the present rules with the time Fit, in microseconds since 1970; Keep reads it

	accounts map[string]*account
	nowUS    int64
	kept     []kept
	horizons map[db.Source]uint64 // as of the last Keep; nil before it
}

// Fit is the time of a rule that keeps links as long as a budget allows.
const Fit = time.Duration(-1)

// kept is rules of retention at a moment.
type kept struct {
	rules          map[string]time.Duration // by pattern; 0: for ever; or Fit
	clockUS, fitUS int64
}

type account struct {
	status  db.Status
	records map[db.Record]record
	resync  *resync
}

// record is a record's links, each with its rank, and its content.
type record struct {
	links map[db.Link]uint64
	body  db.Body
}

type resync struct {
	rev    string
	seen   map[db.Record]bool
	begun  bool // a record has followed
	lastUS int64
}

// Link is a link in a list, with its rank.
type Link struct {
	Record db.Record
	Rank   uint64
}

// Apply applies an event.
func (m *Model) Apply(e apply.Event) {
	m.nowUS = e.TimeUS
	if !link.ValidDID(e.DID) {
		return
	}
	if m.accounts == nil {
		m.accounts = map[string]*account{}
	}
	a := m.accounts[e.DID]
	if a == nil {
		a = &account{records: map[db.Record]record{}}
		m.accounts[e.DID] = a
	}
	switch e.Op {
	case db.OpAccount:
		a.setStatus(e.Status)
	case db.OpSync:
		a.beginResync(e)
	case db.OpCreate, db.OpUpdate, db.OpDelete:
		_, ok := link.ParseTID(e.Rev)
		if !ok || a.status == db.StatusDeleted || !link.ValidNSID(e.Collection) || !link.ValidRecordKey(e.Rkey) {
			return
		}
		applied := a.advanceResync(e)
		if applied {
			m.setRecord(a, e)
		}
	}
}

// setRecord replaces the links and the content of a record by those of an event.
func (m *Model) setRecord(a *account, e apply.Event) {
	key := db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}
	old := a.records[key]
	next := record{links: map[db.Link]uint64{}}
	if e.Op != db.OpDelete {
		for _, l := range e.Links {
			rank, had := old.links[l]
			if !had {
				rank = Rank(e.Rkey, e.TimeUS)
			}
			if rank >= m.Horizon(db.Source{Collection: e.Collection, Path: l.Path}) {
				next.links[l] = rank
			}
		}
		next.body = content(e, old.body, maps.Equal(old.links, next.links))
		if a.resync != nil {
			a.resync.seen[key] = true
			a.resync.lastUS = max(a.resync.lastUS, e.TimeUS)
		}
	}
	delete(a.records, key)
	if len(next.links) > 0 {
		a.records[key] = next
	}
}

// content is what a record holds after an event, as far as is known: what the event says that it is, or, where it says
// no more than that nothing has changed, what it was.
func content(e apply.Event, old db.Body, sameLinks bool) db.Body {
	switch sum := body.Sum(e.Body).CID(); {
	case e.Body != nil && (e.CID == "" || e.CID == sum):
		return db.Body{CID: sum, CBOR: e.Body}
	case sameLinks && e.CID != "" && e.CID == old.CID:
		return old
	}
	return db.Body{}
}

// Rank is where a record's links stand among others, in microseconds since 1970: its TID's time unless that lies more
// than five minutes ahead of the event's, else the event's.
func Rank(rkey string, timeUS int64) uint64 {
	if tid, ok := link.ParseTID(rkey); ok && link.TIDTimeUS(tid) <= timeUS+300_000_000 {
		return uint64(link.TIDTimeUS(tid))
	}
	return uint64(max(timeUS, 0))
}

func (a *account) setStatus(status db.Status) {
	if status == a.status {
		return
	}
	a.endResync()
	a.status = status
	if status == db.StatusDeleted {
		clear(a.records)
	}
}

// beginResync takes a sync event, after which the account's repo comes anew.
func (a *account) beginResync(e apply.Event) {
	_, ok := link.ParseTID(e.Rev)
	if !ok || a.status == db.StatusDeleted {
		return
	}
	if a.resync != nil && e.TimeUS-a.resync.lastUS > 60_000_000 {
		a.endResync()
	}
	a.resync = &resync{rev: e.Rev, seen: map[db.Record]bool{}, lastUS: e.TimeUS}
}

// advanceResync moves the account's resync on to the event of a record, or ends it, and reports whether the event is
// applied: those of revisions from before the resync are not.
func (a *account) advanceResync(e apply.Event) bool {
	switch r := a.resync; {
	case r == nil || e.Rev == r.rev:
	case e.Rev < r.rev: // revisions compare like their times
		return false
	case e.Op == db.OpCreate && !r.begun && e.TimeUS-r.lastUS <= 60_000_000:
		r.rev = e.Rev
		r.lastUS = e.TimeUS // the repo was fetched after the sync
	default:
		a.endResync()
	}
	if a.resync != nil {
		a.resync.begun = true
	}
	return true
}

func (a *account) endResync() {
	if a.resync == nil {
		return
	}
	for key := range a.records {
		if !a.resync.seen[key] {
			delete(a.records, key)
		}
	}
	a.resync = nil
}

// Purge removes the links that keep is false for, and records that have none left.
func (m *Model) Purge(keep func(did string, source db.Source, target string) bool) {
	for _, a := range m.accounts {
		for key, r := range a.records {
			maps.DeleteFunc(r.links, func(l db.Link, _ uint64) bool {
				return !keep(key.DID, db.Source{Collection: key.Collection, Path: l.Path}, l.Target)
			})
			if len(r.links) == 0 {
				delete(a.records, key)
			}
		}
	}
}

// Keep moves the horizons to where rules put them when the log's clock is at a time, and removes what is out then.
func (m *Model) Keep(rules map[string]time.Duration, clockUS int64) {
	if n := len(m.kept) - 1; n >= 0 && maps.Equal(m.kept[n].rules, rules) { // what moved no horizon back is enough
		last := m.kept[n]
		now := kept{rules, max(clockUS, last.clockUS), max(m.FitUS, last.fitUS)}
		if now.clockUS == last.clockUS && now.fitUS == last.fitUS {
			return // Apply has left out what came since and is out
		}
		m.kept[n] = now
	} else {
		m.kept = append(m.kept, kept{rules, clockUS, m.FitUS})
	}
	m.horizons = map[db.Source]uint64{}
	for _, a := range m.accounts {
		for key, r := range a.records {
			maps.DeleteFunc(r.links, func(l db.Link, rank uint64) bool {
				return rank < m.Horizon(db.Source{Collection: key.Collection, Path: l.Path})
			})
			if len(r.links) == 0 {
				delete(a.records, key)
			}
		}
	}
}

// Horizon is the newest horizon that a source ever had, in microseconds since 1970; 0: none.
func (m *Model) Horizon(s db.Source) (us uint64) {
	if us, ok := m.horizons[s]; ok || m.horizons == nil {
		return us
	}
	defer func() { m.horizons[s] = us }()
	for _, k := range m.kept {
		best, keep := -1, time.Duration(0)
		for pattern, d := range k.rules {
			exact := pattern == s.Collection || pattern == s.Collection+":"+s.Path
			group, isGroup := strings.CutSuffix(pattern, "*")
			if (exact || isGroup && strings.HasPrefix(s.Collection, group)) && len(pattern) > best {
				best, keep = len(pattern), d
			}
		}
		if keep == 0 {
			continue
		}
		if keep == Fit {
			us = max(us, uint64(k.fitUS))
			continue
		}
		step := min(max(keep/24, time.Minute), time.Hour).Microseconds()
		if at := k.clockUS - keep.Microseconds(); at > 0 {
			us = max(us, uint64(at/step*step))
		}
	}
	return us
}

// Settle ends the resyncs whose accounts have been silent for a minute of the upstream's time.
func (m *Model) Settle() {
	for _, a := range m.accounts {
		if a.resync != nil && m.nowUS-a.resync.lastUS > 60_000_000 {
			a.endResync()
		}
	}
}

// List names a list: the links to a target from one source.
type List struct {
	Target string
	Source db.Source
}

// Lists gives every list of the index with its links, newest first, those of one rank by DID and rkey.
func (m *Model) Lists() map[List][]Link {
	return m.lists(func(s db.Status) bool { return s == db.StatusActive })
}

// Hidden gives the lists of the links of accounts that are not active.
func (m *Model) Hidden() map[List][]Link {
	return m.lists(func(s db.Status) bool { return s != db.StatusActive })
}

// lists gives the links of accounts by their status.
func (m *Model) lists(of func(db.Status) bool) map[List][]Link {
	lists := map[List][]Link{}
	m.each(of, func(key db.Record, r record) {
		for l, rank := range r.links {
			list := List{l.Target, db.Source{Collection: key.Collection, Path: l.Path}}
			lists[list] = append(lists[list], Link{key, rank})
		}
	})
	for _, links := range lists {
		slices.SortFunc(links, CompareLinks)
	}
	return lists
}

// CompareLinks orders links like Lists.
func CompareLinks(a, b Link) int {
	return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(a.Record.DID, b.Record.DID), cmp.Compare(a.Record.Rkey,
		b.Record.Rkey))
}

// each visits the records of accounts by their status.
func (m *Model) each(of func(db.Status) bool, do func(db.Record, record)) {
	for _, a := range m.accounts {
		if of(a.status) {
			for key, r := range a.records {
				do(key, r)
			}
		}
	}
}

// Records counts the records that have links, of hidden accounts too.
func (m *Model) Records() int64 {
	n := 0
	for _, a := range m.accounts {
		n += len(a.records)
	}
	return int64(n)
}

// DIDs counts the distinct accounts among links.
func DIDs(links []Link) int64 {
	seen := map[string]bool{}
	for _, l := range links {
		seen[l.Record.DID] = true
	}
	return int64(len(seen))
}

// Others gives, for each record of links, its links at another path, in no order.
func (m *Model) Others(links []Link, path string) map[db.Record][]string {
	others := map[db.Record][]string{}
	for _, l := range links {
		for at := range maps.Keys(m.accounts[l.Record.DID].records[l.Record].links) {
			if at.Path == path {
				others[l.Record] = append(others[l.Record], at.Target)
			}
		}
	}
	return others
}
