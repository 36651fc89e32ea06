package index

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"weft.dev/weft/db/codec"
)

// firstLinks gathers the accounts of a list and the first link of each, from the oldest link of the list on. It keeps
// those of one page, and of all accounts a bit: a list may have millions.
type firstLinks struct {
	after   []byte          // links up to this position are on earlier pages; nil: there are none
	limit   int             // of accounts on a page
	changes map[string]byte // since the walk began, by encoded position

	seen    roaring64.Bitmap // accounts without a change
	newest  []first          // their newest first links behind after, the newest last; the last limit+1 count
	changed map[uint64]int   // where an account with a change is in late; below 0: the list does not have it
	late    []first          // accounts with a change, whose first link is known at the end
}

func newFirstLinks(changes map[string]byte, after []byte, limit int) (*firstLinks, error) {
	f := &firstLinks{after: after, limit: limit, changes: changes, changed: map[uint64]int{}}
	for at := range changes {
		p, _, err := codec.DecodePosition([]byte(at))
		if err != nil {
			return nil, err
		}
		f.changed[p.AccountID] = -1
	}
	return f, nil
}

// add takes the next newer link. It keeps the position.
func (f *firstLinks) add(actor uint64, at []byte) {
	i, changed := f.changed[actor]
	if !changed {
		if f.seen.CheckedAdd(actor) && f.onPage(at) {
			f.newest = append(f.newest, first{actor, at})
		}
		if most := f.limit + 1; len(f.newest) == 2*most {
			f.newest = append(f.newest[:0], f.newest[most:]...)
		}
		return
	}
	if i < 0 {
		i = len(f.late)
		f.changed[actor] = i
		f.late = append(f.late, first{actor: actor})
	}
	// The first link that was there at the beginning is the account's.
	if f.late[i].at == nil && f.changes[string(at)] != cameSince {
		f.late[i].at = at
	}
}

func (f *firstLinks) onPage(at []byte) bool { return f.after == nil || slices.Compare(at, f.after) > 0 }

// total is the number of accounts.
func (f *firstLinks) total() int64 { return int64(f.seen.GetCardinality()) + int64(len(f.late)) }

// page is the accounts of the page, newest first. It has more than the limit where another page follows.
func (f *firstLinks) page() []first {
	for at, change := range f.changes {
		p, _, _ := codec.DecodePosition([]byte(at)) // newFirstLinks has read it
		// A greater position is an older link.
		if i := f.changed[p.AccountID]; i >= 0 && change == wentSince && slices.Compare([]byte(at), f.late[i].at) > 0 {
			f.late[i].at = []byte(at)
		}
	}
	page := f.newest
	for _, l := range f.late {
		if l.at != nil && f.onPage(l.at) {
			page = append(page, l)
		}
	}
	slices.SortFunc(page, func(a, b first) int { return slices.Compare(a.at, b.at) })
	return page
}
