package index

import (
	"context"
	"math"
	"slices"

	"weft.dev/weft/db/codec"
)

// markedPage is firstPage by the marks of the list. It reads the marked links of the page, and all links of those few
// accounts whose place in the order of the walk's beginning is another than their mark's.
func (l List) markedPage(ctx context.Context, m *firstMarks, changes map[string]byte, after []byte, limit int) (
	page []first, total int64, err error,
) {
	moved, ofMoved, err := m.moved(l, changes)
	if err != nil {
		return nil, 0, err
	}
	if len(moved) > 0 {
		f, err := l.readFirsts(ctx, moved, ofMoved, after, limit)
		if err != nil {
			return nil, 0, err
		}
		page = f.page()
	}
	w, err := m.walk(l, after)
	if err != nil {
		return nil, 0, err
	}
	for found, n := 0, 0; found <= limit; n++ {
		err := CheckContext(ctx, n)
		if err != nil {
			return nil, 0, err
		}
		e, more, err := w.next()
		if err != nil {
			return nil, 0, err
		}
		if !more {
			break
		}
		account := uint64(e.account)
		// An account whose only link came since the walk began is not on its pages.
		if _, isMoved := moved[account]; isMoved || changes[string(e.at)] == cameSince || l.v.hides(account) {
			continue
		}
		page = append(page, first{account, e.at})
		found++
	}
	slices.SortFunc(page, func(a, b first) int { return slices.Compare(a.at, b.at) })
	total = int64(m.accounts.GetCardinality())
	for account := range l.v.Hiding {
		if account <= math.MaxUint32 && m.accounts.Contains(uint32(account)) {
			total--
		}
	}
	return page, total, nil
}

// moved returns the accounts of the list whose first link may have been another when the walk began, and their changes:
// those that lost a link since, and those with several links whose first one came since.
func (m *firstMarks) moved(l List, changes map[string]byte) (moved map[uint64]struct{}, of map[string]byte, err error) {
	moved = map[uint64]struct{}{}
	for at, change := range changes {
		p, _, err := codec.DecodePosition([]byte(at))
		if err != nil {
			return nil, nil, err
		}
		account := uint32(p.AccountID)
		isMoved := m.accounts.Contains(account) && (change == wentSince || m.repeaters.Contains(account))
		if isMoved && change == cameSince {
			_, isMoved, err = m.find(l, []byte(at))
			if err != nil {
				return nil, nil, err
			}
		}
		if isMoved {
			moved[p.AccountID] = struct{}{}
		}
	}
	of = map[string]byte{}
	for at, change := range changes {
		p, _, err := codec.DecodePosition([]byte(at))
		if err != nil {
			return nil, nil, err
		}
		if _, isMoved := moved[p.AccountID]; isMoved {
			of[at] = change
		}
	}
	return moved, of, nil
}
