package api

import "weft.dev/weft/db"

// The shapes of the answers. Clients rely on the names, on arrays that are never null, and on a cursor that is always there
// and null at the end: without it some of them ask for the first page for ever.
//
// One client (lazurite) reads linking_records from getBacklinks and dids from getDistinct, which nobody has ever sent there.
// It gets what Constellation sends it, records and linking_dids: repeating each list under a second name would double
// every page for all the others.

type totalAnswer struct {
	Total int64 `json:"total"`
}

type record struct {
	DID        string `json:"did"`
	Collection string `json:"collection"`
	Rkey       string `json:"rkey"`
}

type recordsAnswer struct {
	Total   int64    `json:"total"`
	Records []record `json:"records"`
	Cursor  *string  `json:"cursor"`
}

type linkingRecordsAnswer struct {
	Total          int64    `json:"total"`
	LinkingRecords []record `json:"linking_records"`
	Cursor         *string  `json:"cursor"`
}

type didsAnswer struct {
	Total       int64    `json:"total"`
	LinkingDIDs []string `json:"linking_dids"`
	Cursor      *string  `json:"cursor"`
}

type manyItem struct {
	LinkRecord   record `json:"linkRecord"`
	OtherSubject string `json:"otherSubject"`
}

type manyAnswer struct {
	Items  []manyItem `json:"items"`
	Cursor *string    `json:"cursor"`
}

type otherCount struct {
	Subject  string `json:"subject"`
	Total    int64  `json:"total"`
	Distinct int64  `json:"distinct"`
}

type manyCountsAnswer struct {
	Counts []otherCount `json:"counts_by_other_subject"`
	Cursor *string      `json:"cursor"`
}

type sourceTotals struct {
	Records      int64 `json:"records"`
	DistinctDIDs int64 `json:"distinct_dids"`
}

// linksAnswer maps collections to paths, with their leading dot, to what is known of each source.
type linksAnswer[T any] struct {
	Links  map[string]map[string]T `json:"links"`
	Cursor *string                 `json:"cursor,omitempty"` // Constellation's answer has none, and is whole
}

// bySource leaves out sources without links.
func bySource[T any](sources []db.SourceCount, next *string, of func(db.SourceCount) T) linksAnswer[T] {
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
	return linksAnswer[T]{links, next}
}

// each maps a page's items to their shape in JSON; to an empty list, not to null, when there are none.
func each[T, U any](items []T, to func(T) U) []U {
	out := make([]U, len(items))
	for i, item := range items {
		out[i] = to(item)
	}
	return out
}

func toRecord(r db.Record) record { return record(r) }

func toDID(did string) string { return did }

func toManyItem(m db.ManyItem) manyItem { return manyItem{toRecord(m.Record), m.Other} }

func toOtherCount(c db.OtherCount) otherCount { return otherCount{c.Other, c.Links, c.DIDs} }
