package wire

import "encoding/json"

// The answers of weft's own methods, dev.weft.links.*.

// Content is the content of a record, where a request asks for it and the server keeps it.
type Content struct {
	CID   string          `json:"cid,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// TimedBacklinks is the answer of dev.weft.links.getBacklinks.
type TimedBacklinks struct {
	Total   int64         `json:"total"`
	Records []TimedRecord `json:"records"`
	Cursor  *string       `json:"cursor"`
}

// TimedRecord is a linking record with the time that lists are ordered by.
type TimedRecord struct {
	Record
	Time string `json:"time"`
	Content
}

// DIDs is the answer of dev.weft.links.getBacklinkDids.
type DIDs struct {
	Total  int64    `json:"total"`
	DIDs   []string `json:"dids"`
	Cursor *string  `json:"cursor"`
}

// Counts is the answer of getCounts and batchCounts.
type Counts struct {
	Counts []PairCount `json:"counts"`
}

// PairCount counts the links of a list and the accounts that made them.
type PairCount struct {
	Pair
	Links int64 `json:"links"`
	DIDs  int64 `json:"dids"`
}

// Pairs is the body of batchCounts that names each list. The other form has subjects and sources.
type Pairs struct {
	Pairs []Pair `json:"pairs"`
}

// AccountLinks is the answer of getAccountBacklinks.
type AccountLinks struct {
	Links  []AccountLink `json:"links"`
	Cursor *string       `json:"cursor"`
}

// AccountLink is a link to an account or to anything of it.
type AccountLink struct {
	Record
	Time string `json:"time"`
	Link
	Content
}

// AccountCounts is the answer of getAccountCounts. Total is the sum of all pages.
type AccountCounts struct {
	Total   int64         `json:"total"`
	Sources []SourceCount `json:"sources"`
	Cursor  *string       `json:"cursor"`
}

// SourceCount counts the links from a source.
type SourceCount struct {
	Source string `json:"source"`
	Links  int64  `json:"links"`
}

// Timeline is the answer of getTimeline: counts in spans of Seconds from From on. From is null without links.
type Timeline struct {
	From    *string          `json:"from"`
	Seconds int64            `json:"seconds"`
	Sources []SourceTimeline `json:"sources"`
}

// SourceTimeline counts the links from a source by time, oldest span first. Older counts those before the first span;
// Total is Older and Counts together.
type SourceTimeline struct {
	Source string  `json:"source"`
	Total  int64   `json:"total"`
	Older  int64   `json:"older"`
	Counts []int64 `json:"counts"`
}

// Top is the answer of getTop. Source is empty where no source has links.
type Top struct {
	Since    string         `json:"since"`
	Until    string         `json:"until"`
	Source   string         `json:"source"`
	Subjects []SubjectCount `json:"subjects"`
	Bound    int64          `json:"bound"`
	Sources  []string       `json:"sources"`
}

// SubjectCount counts the links to a subject.
type SubjectCount struct {
	Subject string `json:"subject"`
	Links   int64  `json:"links"`
	Content        // of a subject that is a record
}

// RecordLinks is the answer of getRecordLinks.
type RecordLinks struct {
	Links []Link `json:"links"`
	Content
}
