package index

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// ManyToMany lists what else the records link to that link to a target, by record, newest first, and then by target.
// Total is 0: counting them means to walk them all.
func (s *Queries) ManyToMany(ctx context.Context, q ManyQuery) (Page[ManyItem], error) {
	page := Page[ManyItem]{Items: []ManyItem{}}
	v := s.core.Acquire()
	defer s.core.Release(v)
	m, ok, err := s.core.many(v, q)
	if err != nil || !ok {
		return page, err
	}
	var at []codec.ListPosition
	var others [][]byte
	start := q.After
	if q.After != nil {
		// A page may end inside of a record: its cursor is the record's position and, behind it, the target reached.
		p, reached, err := codec.DecodePosition(q.After)
		if err != nil || len(reached) == 0 || codec.TargetLen(reached) != len(reached) {
			return page, ErrBadCursor
		}
		start = q.After[:len(q.After)-len(reached)]
		others, err = m.othersAfter(p, reached)
		if err != nil {
			return page, err
		}
		at = slices.Repeat([]codec.ListPosition{p}, len(others))
	}
	err = m.list.visit(ctx, m.wanted, start, false, func(p codec.ListPosition, _ []byte) (bool, error) {
		found, err := m.othersOf(p)
		for _, other := range found {
			at = append(at, p)
			others = append(others, other)
		}
		return len(others) <= q.Limit, err
	})
	if err != nil {
		return page, err
	}
	if len(others) > q.Limit {
		at = at[:q.Limit]
		others = others[:q.Limit]
		page.Next = append(at[q.Limit-1].Append(nil), others[q.Limit-1]...)
	}
	records, err := s.recordsAt(ctx, q.Source.Collection, at)
	if err != nil {
		return page, err
	}
	names, err := s.core.TargetStrings(ctx, others)
	if err != nil {
		return page, err
	}
	for i := range records {
		page.Items = append(page.Items, ManyItem{records[i], names[i]})
	}
	return page, nil
}

// ManyToManyCounts counts what else the records link to that link to a target, by other target, in the order of their
// keys. Total is 0: counting them means to hold them all. A page has fewer items than the limit where its others have
// very many accounts.
func (s *Queries) ManyToManyCounts(ctx context.Context, q ManyQuery) (Page[OtherCount], error) {
	page := Page[OtherCount]{Items: []OtherCount{}}
	if q.After != nil && (len(q.After) == 0 || codec.TargetLen(q.After) != len(q.After)) {
		return page, ErrBadCursor
	}
	v := s.core.Acquire()
	defer s.core.Release(v)
	m, ok, err := s.core.many(v, q)
	if err != nil || !ok {
		return page, err
	}
	counts := otherCounts{after: q.After, limit: q.Limit, room: otherCountsBytes}
	err = m.list.visit(ctx, m.wanted, nil, false, func(p codec.ListPosition, _ []byte) (bool, error) {
		found, err := m.othersOf(p)
		for _, other := range found {
			counts.add(other, p.AccountID)
		}
		return true, err
	})
	if err != nil {
		return page, err
	}
	others, items := counts.page()
	page.Items, page.Next = items, slices.Clone(counts.upTo)
	names, err := s.core.TargetStrings(ctx, others)
	if err != nil {
		return page, err
	}
	for i := range names {
		page.Items[i].Other = names[i]
	}
	return page, nil
}

// many is a ManyQuery with its names looked up.
type many struct {
	list       List
	collection uint64
	other      uint64              // source of the other links
	wanted     map[uint64]struct{} // accounts; nil: all
	subjects   map[string]struct{} // nil: all
	links      []codec.RecordLink  // scratch
}

func (c *Core) many(v *Snapshot, q ManyQuery) (m *many, ok bool, err error) {
	l, ok, err := v.list(q.Target, q.Source)
	if !ok || err != nil {
		return nil, false, err
	}
	l = l.withBound(q.Walk)
	m = &many{list: l}
	m.other, m.collection, ok, err = v.sourceID(Source{q.Source.Collection, q.Other})
	if !ok || err != nil {
		return nil, false, err
	}
	m.wanted, err = c.accountIDs(v, q.DIDs)
	if err != nil {
		return nil, false, err
	}
	if q.Subjects != nil {
		m.subjects = make(map[string]struct{}, len(q.Subjects))
		for _, subject := range q.Subjects {
			key, ok, err := v.TargetKey(subject)
			if err != nil {
				return nil, false, err
			}
			if ok {
				m.subjects[string(key)] = struct{}{}
			}
		}
	}
	return m, true, nil
}

// othersOf returns the other targets of the record at a position, in order.
func (m *many) othersOf(p codec.ListPosition) ([][]byte, error) {
	err := m.list.read(lookupCost)
	if err != nil {
		return nil, err
	}
	value, err := m.list.v.FindRecord(codec.RecordKey(nil, p.AccountID, m.collection, p.Rkey()), lsm.Likely)
	if value == nil || err != nil {
		return nil, err
	}
	m.links, err = codec.DecodeLinks(m.links[:0], value, p.Rkey())
	if err != nil {
		return nil, fmt.Errorf("db: links of a record: %w", err)
	}
	var out [][]byte
	for _, l := range m.links {
		if l.Source != m.other {
			continue
		}
		if m.subjects != nil {
			if _, ok := m.subjects[string(l.Target)]; !ok {
				continue
			}
		}
		out = append(out, l.Target)
	}
	return out, nil
}

// othersAfter returns the other targets of the record at a position that follow one of them, in order. It returns none
// where the record no longer links.
func (m *many) othersAfter(p codec.ListPosition, reached []byte) ([][]byte, error) {
	still, err := m.stillLinks(p)
	if !still || err != nil {
		return nil, err
	}
	found, err := m.othersOf(p)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, other := range found {
		if bytes.Compare(other, reached) > 0 {
			out = append(out, other)
		}
	}
	return out, nil
}

// stillLinks reports whether the link at a position is still in the list: since the page before, its record may have
// changed or its account been hidden.
func (m *many) stillLinks(p codec.ListPosition) (bool, error) {
	key := p.Append(m.list.Prefix[:len(m.list.Prefix):len(m.list.Prefix)])
	if isOut(m.list.horizon, key[len(m.list.Prefix):]) {
		return false, nil
	}
	value, ok, err := m.list.v.Targets.Find(key, 0)
	_, wanted := m.wanted[p.AccountID]
	wanted = wanted || m.wanted == nil
	return ok && value[0] == codec.Linked && wanted && !m.list.v.hides(p.AccountID), err
}
