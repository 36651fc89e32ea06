package index

import (
	"context"
	"fmt"

	"weft.dev/weft/db/codec"
)

// HasAccount reports whether the index knows an account: it has records of it or links to it, or knows its status.
func (s *Queries) HasAccount(did string) (bool, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	_, ok, err := v.ID(codec.DIDKey(did))
	if err != nil {
		return false, fmt.Errorf("db: look up an account: %w", err)
	}
	return ok, nil
}

// RecordLinks gives the links that a record makes, in the order in which their sources were first seen; none when it
// makes none, isn't known or is of an account that isn't active.
func (s *Queries) RecordLinks(ctx context.Context, r Record) ([]Link, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	actor, ok, err := v.ID(codec.DIDKey(r.DID))
	if !ok || err != nil {
		return nil, err
	}
	collection, ok, err := v.ID(codec.CollectionKey(r.Collection))
	if !ok || err != nil {
		return nil, err
	}
	rkey := codec.AppendRkey(nil, r.Rkey)
	value, err := v.FindRecord(codec.RecordKey(nil, actor, collection, rkey), 0)
	if value == nil || err != nil {
		return nil, err
	}
	found, err := codec.DecodeLinks(nil, value, rkey)
	if err != nil {
		return nil, fmt.Errorf("db: links of a record: %w", err)
	}
	// The order by record has the links of hidden accounts too; the order by target says which are shown, in this very
	// version.
	var links []Link
	var targets [][]byte
	for _, l := range found {
		at := codec.ListPosition{Rank: l.Rank, AccountID: actor, RkeySuffix: codec.AppendRkeySuffix(nil, l.Rank, rkey)}
		key := at.Append(codec.AppendID(l.Target[:len(l.Target):len(l.Target)], l.Source))
		entry, ok, err := v.Targets.Find(key, 0)
		if err != nil {
			return nil, err
		}
		if !ok || entry[0] != codec.Linked || v.hides(actor) {
			continue
		}
		source, err := s.core.Source(ctx, l.Source)
		if err != nil {
			return nil, err
		}
		links = append(links, Link{Path: source.Path})
		targets = append(targets, l.Target)
	}
	names, err := s.core.TargetStrings(ctx, targets)
	if err != nil {
		return nil, err
	}
	for i := range links {
		links[i].Target = names[i]
	}
	return links, nil
}
