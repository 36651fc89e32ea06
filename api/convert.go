package api

import (
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// This file converts the store's values to those of package wire.

// bySource groups counts by collection and path, without sources that have no links.
func bySource[T any](sources []db.SourceCount, next *string, of func(db.SourceCount) T) wire.BySource[T] {
	links := make(map[string]map[string]T)
	for _, c := range sources {
		if c.Links == 0 {
			continue
		}
		if links[c.Collection] == nil {
			links[c.Collection] = make(map[string]T)
		}
		links[c.Collection]["."+c.Path] = of(c)
	}
	return wire.BySource[T]{Links: links, Cursor: next}
}

// each converts items. Without items it returns an empty list, not nil.
func each[T, U any](items []T, convert func(T) U) []U {
	out := make([]U, len(items))
	for i, item := range items {
		out[i] = convert(item)
	}
	return out
}

func toRecord(r db.Record) wire.Record { return wire.Record(r) }

func toDID(did string) string { return did }

func toManyItem(m db.ManyItem) wire.ManyToManyItem {
	return wire.ManyToManyItem{LinkRecord: toRecord(m.Record), OtherSubject: m.Other}
}

func toOtherCount(c db.OtherCount) wire.OtherCount {
	return wire.OtherCount{Subject: c.Other, Total: c.Links, Distinct: c.DIDs}
}

func toSourceTotals(c db.SourceCount) wire.SourceTotals {
	return wire.SourceTotals{Records: c.Links, DistinctDIDs: c.DIDs}
}
