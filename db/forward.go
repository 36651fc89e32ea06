package db

import (
	"context"
	"fmt"
)

// RecordLinks gives the links that a record makes, in the order in which their sources were first seen; none when it makes
// none, isn't known or is of an account that isn't active.
func (s *Index) RecordLinks(ctx context.Context, r Record) ([]Link, error) {
	v := s.acquire()
	defer s.release(v)
	actor, ok, err := v.id(append([]byte{'d'}, r.DID...))
	if !ok || err != nil {
		return nil, err
	}
	collection, ok, err := v.id(append([]byte{'c'}, r.Collection...))
	if !ok || err != nil {
		return nil, err
	}
	rkey := appendRkey(nil, r.Rkey)
	value, ok, err := v.records.Find(recordKey(nil, actor, collection, rkey))
	if !ok || err != nil {
		return nil, err
	}
	found, err := cutLinks(nil, value, rkey)
	if err != nil {
		return nil, fmt.Errorf("db: links of a record: %w", err)
	}
	// The order by record has the links of hidden accounts too; the order by target says which are shown, in this very version.
	var links []Link
	var targets [][]byte
	for _, l := range found {
		at := position{l.rank, actor, appendPlace(nil, l.rank, rkey)}
		key := at.append(appendID(l.target[:len(l.target):len(l.target)], l.source))
		entry, ok, err := v.targets.Find(key)
		if err != nil {
			return nil, err
		}
		if !ok || entry[0] != linked || v.hides(actor) {
			continue
		}
		source, err := s.source(ctx, l.source)
		if err != nil {
			return nil, err
		}
		links, targets = append(links, Link{Path: source.Path}), append(targets, l.target)
	}
	names, err := s.targetStrings(ctx, targets)
	if err != nil {
		return nil, err
	}
	for i := range links {
		links[i].Target = names[i]
	}
	return links, nil
}
