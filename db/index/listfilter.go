package index

import (
	"context"
	"fmt"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// A filter by account has two ways to its links: through the list, or through the records that the accounts have in the
// list's collection. The list of a popular account has millions of links, and an account that is asked for has made a
// few thousand: visit goes through the records first, and gives up for the list when that has cost half of what the
// list costs. So a filter costs at most 1.5 times the cheaper way. The unit is an entry of the list, 0.1 µs:
const (
	accountCost = 500 // a scan of one account's records begins: a block of each segment that may have it
	recordCost  = 4   // one record is decoded
	lookupCost  = 50  // the order by target is asked whether it shows a link
)

// visit calls do for the links of the list whose accounts are wanted, newest first, or oldest first in reverse, from
// behind a position on, until it returns false. wanted nil: every account is. It leaves out accounts that are being
// hidden. Positions, encoded as at, stay as they are.
func (l List) visit(ctx context.Context, wanted map[uint64]struct{}, after []byte, reverse bool,
	do func(p codec.ListPosition, at []byte) (more bool, err error)) error {
	if wanted != nil {
		found, ok, err := l.readByRecords(ctx, wanted)
		if err != nil {
			return err
		}
		if ok {
			return visitSorted(found, after, reverse, do)
		}
	}
	sc := l.scan(ctx, after, reverse)
	for n := 0; sc.Next(); n++ {
		if err := CheckContext(ctx, n); err != nil {
			return err
		}
		if !l.walk.take(1) {
			return l.tooLong()
		}
		p, err := l.Position(sc)
		if err != nil {
			return err
		}
		_, isWanted := wanted[p.AccountID]
		if wanted != nil && !isWanted || l.v.hides(p.AccountID) {
			continue
		}
		more, err := do(p, sc.Key()[len(l.Prefix):])
		if err != nil || !more {
			return err
		}
	}
	return sc.Err()
}

// foundLink is a link and its position, encoded.
type foundLink struct {
	at []byte
	p  codec.ListPosition
}

// visitSorted is visit over links that are in no order.
func visitSorted(found []foundLink, after []byte, reverse bool,
	do func(p codec.ListPosition, at []byte) (more bool, err error)) error {
	sign := 1
	if reverse {
		sign = -1
	}
	slices.SortFunc(found, func(a, b foundLink) int { return sign * slices.Compare(a.at, b.at) })
	for _, link := range found {
		if after != nil && sign*slices.Compare(link.at, after) <= 0 {
			continue
		}
		more, err := do(link.p, link.at)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// readByRecords finds the links of accounts through their records. ok is false where the list is the cheaper way.
func (l List) readByRecords(ctx context.Context, wanted map[uint64]struct{}) (found []foundLink, ok bool, err error) {
	total, err := l.Total()
	if err != nil {
		return nil, false, err
	}
	n := codec.TargetLen(l.Prefix)
	source, _, err := codec.DecodeID(l.Prefix[n:])
	if err != nil {
		return nil, false, fmt.Errorf("db: list %x: %w", l.Prefix, err)
	}
	room, all := l.walk.within(total / 2)
	s := recordSearch{list: l, target: l.Prefix[:n], source: source, room: room}
	for actor := range wanted {
		s.room -= accountCost
		if s.room >= 0 && !l.v.hides(actor) {
			err := s.readAccount(ctx, actor)
			if err != nil {
				return nil, false, err
			}
		}
		if s.room < 0 && !all {
			return nil, false, &WalkError{total}
		}
		if s.room < 0 {
			return nil, false, nil
		}
	}
	l.walk.take(room - s.room)
	return s.found, true, nil
}

// recordSearch looks for the links of a list among the records of accounts.
type recordSearch struct {
	list   List
	target []byte
	source uint64
	room   int64 // what it may cost still, in entries of the list
	found  []foundLink
	links  []codec.RecordLink // scratch
}

// readAccount adds the links of an account, until there is no room left.
func (s *recordSearch) readAccount(ctx context.Context, actor uint64) error {
	from := codec.RecordKey(nil, actor, s.list.collection, nil)
	sc := s.list.v.Records.ScanWithTombstones(from, lsm.PrefixEnd(from), false).WithContext(ctx)
	for n := 0; sc.Next(); n++ {
		if err := CheckContext(ctx, n); err != nil {
			return err
		}
		s.room -= recordCost
		if s.room < 0 {
			return nil
		}
		_, _, rkey, err := codec.DecodeRecordKey(sc.Key())
		if err != nil {
			return fmt.Errorf("db: record key %x: %w", sc.Key(), err)
		}
		s.links, err = codec.DecodeLinks(s.links[:0], sc.Value(), rkey)
		if err != nil {
			return fmt.Errorf("db: links of the record %x: %w", sc.Key(), err)
		}
		for i := range s.links {
			if s.links[i].Source != s.source || !slices.Equal(s.links[i].Target, s.target) {
				continue
			}
			if err := s.add(actor, rkey, s.links[i].Rank); err != nil {
				return err
			}
		}
	}
	return sc.Err()
}

// add adds a link, if the list shows it: the order by record has the links of inactive accounts too.
func (s *recordSearch) add(actor uint64, rkey []byte, rank uint64) error {
	s.room -= lookupCost
	p := codec.ListPosition{Rank: rank, AccountID: actor, RkeySuffix: codec.AppendRkeySuffix(nil, rank, rkey)}
	at := p.Append(nil)
	if !s.list.holds(at) {
		return nil
	}
	value, ok, err := s.list.v.Targets.Find(append(s.list.Prefix[:len(s.list.Prefix):len(s.list.Prefix)], at...), 0)
	if err == nil && ok && value[0] == codec.Linked {
		s.found = append(s.found, foundLink{at, p})
	}
	return err
}

// accountIDs returns the ids of those accounts that the index knows; nil for nil. It caches their names: the answer
// has mostly the same accounts.
func (c *Core) accountIDs(v *Snapshot, dids []string) (map[uint64]struct{}, error) {
	if dids == nil {
		return nil, nil
	}
	wanted := make(map[uint64]struct{}, len(dids))
	for _, did := range dids {
		id, ok, err := v.ID(codec.DIDKey(did))
		if err != nil {
			return nil, err
		}
		if ok {
			wanted[id] = struct{}{}
			c.didCache.put(id, did)
		}
	}
	return wanted, nil
}
