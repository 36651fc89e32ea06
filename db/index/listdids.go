package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// DIDs lists the accounts that link to a target from one source, by their first link, newest first.
//
// An account's first link may go, or an older one come, between two pages, and the account with it to another place. So
// a walk from page to page keeps the order of its beginning: a page's Next names the log row that was the newest then,
// and what has changed in the list since is taken from the log. An account that links all the time is met exactly once.
// Where the log no longer reaches back so far, or walkRows rows came meanwhile, only what is newer is taken into
// account.
func (s *Queries) DIDs(ctx context.Context, q ListQuery) (Page[string], error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	page := Page[string]{Items: []string{}}
	after, since, err := decodeWalk(q.After, v.Seq)
	if err != nil {
		return page, err
	}
	l, ok, err := v.list(q.Target, q.Source)
	if err != nil || !ok {
		return page, err
	}
	l = l.within(q.Since, q.Until)
	l = l.withBound(q.Walk)
	wanted, err := s.core.accountIDs(v, q.DIDs)
	if err != nil {
		return page, err
	}
	if since < v.Seq && !l.walk.take(int64(v.Seq-since)) {
		return page, &WalkError{}
	}
	changes, err := s.listChanges(ctx, l, since, v.Seq)
	if err != nil {
		return page, err
	}
	firsts, total, err := s.firstPage(ctx, l, wanted, changes, after, q.Limit)
	if err != nil {
		return page, err
	}
	page.Total = total
	if len(firsts) > q.Limit {
		firsts = firsts[:q.Limit]
		page.Next = binary.BigEndian.AppendUint64(slices.Clone(firsts[q.Limit-1].at), since)
	}
	ids := make([]uint64, len(firsts))
	for i, f := range firsts {
		ids[i] = f.actor
	}
	page.Items, err = s.core.AccountDIDs(ctx, ids)
	return page, err
}

// decodeWalk decodes a cursor of DIDs: the last first link, encoded, and the newest log row when the walk began, which
// is seq when it begins now.
func decodeWalk(after []byte, seq uint64) (at []byte, since uint64, err error) {
	if after == nil {
		return nil, seq, nil
	}
	_, rest, err := codec.DecodePosition(after)
	if err != nil || len(rest) != 8 || binary.BigEndian.Uint64(rest) == 0 {
		return nil, 0, ErrBadCursor
	}
	since = min(binary.BigEndian.Uint64(rest), seq)
	return after[:len(after)-8], max(since, seq-min(seq, walkRows)), nil
}

// walkRows bounds the log rows that a page reads, about a tenth of a second's work: some five minutes of the full
// network. A cursor can be kept for any time, and none may cost more.
const walkRows = 1 << 18

// first is an account of a list and its first link, encoded, as of the beginning of the walk; nil when it had none.
type first struct {
	actor uint64
	at    []byte
}

// shortMarked is the longest list that is read whole for each page of accounts: marking it costs as much.
const shortMarked = 64

// firstPage returns the accounts of a page behind a position, newest first, and how many accounts there are on all
// pages. It returns more than the limit where another page follows.
func (s *Queries) firstPage(ctx context.Context, l List, wanted map[uint64]struct{}, changes map[string]byte,
	after []byte, limit int) (page []first, total int64, err error) {
	if wanted == nil && !l.part {
		m := l.readyMarks(s.core.Blocks)
		if m == nil {
			f, err := l.readShort(ctx, changes, after, limit)
			if err != nil {
				return nil, 0, err
			}
			if f != nil {
				return f.page(), f.total(), nil
			}
			m, err = l.marks(ctx, s.core)
			if err != nil {
				return nil, 0, err
			}
		}
		if m != nil {
			return l.markedPage(ctx, m, changes, after, limit)
		}
	}
	f, err := l.readFirsts(ctx, wanted, changes, after, limit)
	if err != nil {
		return nil, 0, err
	}
	return f.page(), f.total(), nil
}

// readShort is readFirsts of all links of a short list; nil: it is not short. It reads a longer one up to shortMarked,
// which costs less than counting the list.
func (l List) readShort(ctx context.Context, changes map[string]byte, after []byte, limit int) (*firstLinks, error) {
	f, err := newFirstLinks(changes, after, limit)
	if err != nil {
		return nil, err
	}
	err = l.read(shortMarked)
	if err != nil {
		return nil, err
	}
	sc := l.scan(ctx, nil, true).LimitTombstones(deadInRow)
	for links := 0; sc.Next(); links++ {
		if links == shortMarked {
			return nil, nil
		}
		p, err := l.Position(sc)
		if err != nil {
			return nil, err
		}
		if !l.v.hides(p.AccountID) {
			f.add(p.AccountID, sc.Key()[len(l.Prefix):])
		}
	}
	if sc.LimitReached() {
		return nil, nil
	}
	return f, sc.Err()
}

// readFirsts reads all links of the accounts that are wanted; nil: of all.
func (l List) readFirsts(ctx context.Context, wanted map[uint64]struct{}, changes map[string]byte, after []byte,
	limit int) (*firstLinks, error) {
	f, err := newFirstLinks(changes, after, limit)
	if err != nil {
		return nil, err
	}
	err = l.visit(ctx, wanted, nil, true, func(p codec.ListPosition, at []byte) (bool, error) {
		f.add(p.AccountID, at)
		return true, nil
	})
	return f, err
}

const (
	cameSince byte = 1 // not there at the beginning
	wentSince byte = 2 // there at the beginning, whether it has come back or not
)

// listChanges reads the changes of a list by the log rows after one and up to another, by encoded position: the first
// change of each link, which says whether the link was there before.
func (s *Queries) listChanges(ctx context.Context, l List, since, to uint64) (map[string]byte, error) {
	if since >= to {
		return nil, nil
	}
	n := codec.TargetLen(l.Prefix)
	source, _, err := codec.DecodeID(l.Prefix[n:])
	if err != nil {
		return nil, err
	}
	changes := map[string]byte{}
	err = logrow.Scan(ctx, s.core.Reader, since, to, func(rows logrow.Rows) error {
		for i := range rows.Links {
			if c := &rows.Links[i]; c.Source == source && bytes.Equal(c.Target, l.Prefix[:n]) {
				row := &rows.Log[c.ID>>logrow.LinkShift-rows.Log[0].Seq]
				if err := l.addChange(changes, row, c); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("db: read what changed in a list: %w", err)
	}
	return changes, nil
}

// addChange adds the change of one of the list's links by a log row, if it is the first one of the link.
func (l List) addChange(changes map[string]byte, row *logrow.Row, c *logrow.LinkRow) error {
	if row.Rkey == nil {
		return codec.ErrMalformed
	}
	p := codec.ListPosition{Rank: c.RecordLink(row.Rkey).Rank, AccountID: row.Actor}
	p.RkeySuffix = codec.AppendRkeySuffix(nil, p.Rank, row.Rkey)
	at := string(p.Append(nil))
	if _, ok := changes[at]; ok || !l.holds([]byte(at)) {
		return nil
	}
	changes[at] = wentSince
	if c.Op == codec.Linked {
		changes[at] = cameSince
	}
	return nil
}

// holds reports whether a position lies within the list's span of time and is not out.
func (l List) holds(at []byte) bool {
	if !l.part && l.horizon == 0 {
		return true
	}
	key := append(l.Prefix[:len(l.Prefix):len(l.Prefix)], at...)
	return slices.Compare(key, l.from) >= 0 && slices.Compare(key, l.to) < 0
}
