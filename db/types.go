package db

import (
	"errors"
	"math"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// ErrBadCursor is what a query answers whose After is no Page's Next.
var ErrBadCursor = errors.New("db: not a cursor of this query")

// Op and Status are numbers of the log's rows.
type (
	Op     = logrow.Op
	Status = logrow.Status
)

// Op says what an upstream event does to an account or to one of its records.
const (
	OpCreate  = logrow.OpCreate  // the record exists, with exactly these links
	OpUpdate  = logrow.OpUpdate  // the same, over an older version
	OpDelete  = logrow.OpDelete  // the record is gone
	OpAccount = logrow.OpAccount // the account's hosting status changed
	OpSync    = logrow.OpSync    // the repo diverged: its whole content follows as creates with this rev
)

// Status is an account's hosting status. Only the links of active accounts are counted and listed.
const (
	StatusActive      = logrow.StatusActive
	StatusDeactivated = logrow.StatusDeactivated
	StatusSuspended   = logrow.StatusSuspended
	StatusTakendown   = logrow.StatusTakendown
	StatusDeleted     = logrow.StatusDeleted  // purges the account and leaves a tombstone
	StatusInactive    = logrow.StatusInactive // any other reason: hidden, and kept
)

// Event is one upstream event, already reduced to what an index needs. Its strings are kept by nobody after
// Store.Apply returns.
type Event struct {
	Seq        uint64 // the upstream's sequence number
	TimeUS     int64  // when the upstream saw it, microseconds since 1970
	Op         Op
	Status     Status // OpAccount only
	DID        string
	Collection string // an NSID; record events only
	Rkey       string // record events only
	Rev        string // the repo revision, a TID; record events and OpSync
	Links      []Link // OpCreate and OpUpdate only; duplicates count once

	// The record's content, for a store that keeps bodies; OpCreate and OpUpdate only. Nobody changes it meanwhile, and
	// it is kept by nobody after Store.Apply returns either.
	CID  string // what the upstream calls it; empty where it doesn't say
	Body []byte // DAG-CBOR; nil: not known
}

// Link is one link of a record.
type Link struct {
	Path   string // where in the record, without the leading dot: subject.uri
	Target string // as link.Parse normalises it
}

// Batch is a run of events from one upstream host, in the order that it sent them.
type Batch struct {
	Host   string
	Kind   string // of the host: v2 or v1; empty: v2
	Events []Event
	Seq    uint64 // of the last event seen, whether it concerned the index or not; 0: that of the last of Events
	TimeUS int64  // its time; unused when Seq is 0
}

// end is where the upstream stands after the batch.
func (b *Batch) end() (seq uint64, timeUS int64) {
	seq = b.Seq
	timeUS = b.TimeUS
	if seq == 0 && len(b.Events) > 0 {
		last := &b.Events[len(b.Events)-1]
		seq = last.Seq
		timeUS = last.TimeUS
	}
	return min(seq, math.MaxInt64), timeUS // SQLite's integers have a sign
}

// Source is a place that links come from: a collection and a path in its records.
type Source struct {
	Collection string
	Path       string // without the leading dot
}

// Record names a record.
type Record struct {
	DID        string
	Collection string
	Rkey       string
}

// Page is one page of a list, with the total of the whole list.
type Page[T any] struct {
	Total int64
	Items []T
	Times []int64 // of Links: the time of each item, microseconds since 1970, by which the list is ordered
	Next  []byte  // where the next page starts; nil at the end. Opaque; pass it back as After.

	// Position is where a page starts behind the item of an index, as Next: for a caller who has no room for all items.
	// Of Links and AccountLinks.
	Position func(i int) []byte
}

// SourcesQuery asks for the sources of the links to a target, or to all of an account.
type SourcesQuery struct {
	Of    string // a target as link.Parse normalises it, or the DID of an account
	Limit int    // sources in a page, at least 1
	After []byte // a Page's Next, of the same query; nil: the first page
}

// after is the id of the source that a page starts behind.
func (q *SourcesQuery) after() (id uint64, err error) {
	if q.After == nil {
		return 0, nil
	}
	id, rest, err := codec.DecodeID(q.After)
	if err != nil || len(rest) > 0 {
		return 0, ErrBadCursor
	}
	return id, nil
}

// ListQuery asks for the links to a target from one source.
type ListQuery struct {
	Target  string // as link.Parse normalises it
	Source  Source
	DIDs    []string // only links by these accounts; nil: by all; empty: by none
	Limit   int      // items in a page, at least 1
	After   []byte   // a Page's Next, of the same query; nil: the first page
	Reverse bool     // oldest first
	Since   int64    // only links of this time or later, microseconds since 1970; 0: from the beginning
	Until   int64    // only links of before this time; 0: to the end
}

// ManyQuery asks for what else the records link to that link to a target: from each of them, the links at Other.
type ManyQuery struct {
	ListQuery          // DIDs filters the linking accounts; Reverse is not used
	Other     string   // the path to the other link, without its leading dot, in the same collection
	Subjects  []string // only these other targets, normalised; nil: all; empty: none
}

// ManyItem is one other target of one linking record.
type ManyItem struct {
	Record Record
	Other  string
}

// OtherCount counts, for one other target, the links to it and the accounts that made them.
type OtherCount struct {
	Other string
	Links int64
	DIDs  int64
}

// SourceCount counts the links to a target from one source.
type SourceCount struct {
	Source
	Links int64
	DIDs  int64
}
