package wire

// The answers of the methods and routes that Constellation has too.
//
// One client (lazurite) reads linking_records from getBacklinks and dids from getDistinct, which no server sends
// there. It gets what Constellation sends it, records and linking_dids: a second name for each list would double every
// page for all the others.

// Backlinks is the answer of blue.microcosm.links.getBacklinks.
type Backlinks struct {
	Total   int64    `json:"total"`
	Records []Record `json:"records"`
	Cursor  *string  `json:"cursor"`
}

// LinkingRecords is the answer of /links.
type LinkingRecords struct {
	Total          int64    `json:"total"`
	LinkingRecords []Record `json:"linking_records"`
	Cursor         *string  `json:"cursor"`
}

// LinkingDIDs is the answer of blue.microcosm.links.getBacklinkDids, getDistinct and /links/distinct-dids.
type LinkingDIDs struct {
	Total       int64    `json:"total"`
	LinkingDIDs []string `json:"linking_dids"`
	Cursor      *string  `json:"cursor"`
}

// ManyToMany is the answer of getManyToMany.
type ManyToMany struct {
	Items  []ManyToManyItem `json:"items"`
	Cursor *string          `json:"cursor"`
}

// ManyToManyItem is a linking record and one of its other links.
type ManyToManyItem struct {
	LinkRecord   Record `json:"linkRecord"`
	OtherSubject string `json:"otherSubject"`
}

// ManyToManyCounts is the answer of getManyToManyCounts.
type ManyToManyCounts struct {
	Counts []OtherCount `json:"counts_by_other_subject"`
	Cursor *string      `json:"cursor"`
}

// OtherCount counts the linking records that also link to Subject, and their accounts.
type OtherCount struct {
	Subject  string `json:"subject"`
	Total    int64  `json:"total"`
	Distinct int64  `json:"distinct"`
}

// BySource maps collections to paths, with their leading dot, to the counts of each source. Its counts are
// SourceTotals at /links/all and numbers at /links/all/count.
type BySource[T any] struct {
	Links map[string]map[string]T `json:"links"`
	// absent at the end: Constellation's answer has none, and is whole
	Cursor *string `json:"cursor,omitempty"`
}

// SourceTotals counts the linking records of a source and their accounts.
type SourceTotals struct {
	Records      int64 `json:"records"`
	DistinctDIDs int64 `json:"distinct_dids"`
}
