package index

import (
	"errors"

	"weft.dev/weft/db/logrow"
)

// ErrBadCursor is what a query answers whose After is no Page's Next.
var ErrBadCursor = errors.New("db: not a cursor of this query")

// ErrLogPruned is the error of Log when rows after the given one are pruned.
var ErrLogPruned = errors.New("db: the log no longer reaches back that far")

// LogEntry is a row of the log: an event that changed something.
type LogEntry struct {
	Seq    uint64
	TimeUS int64     // when the upstream saw it, microseconds since 1970
	Op     logrow.Op // OpCreate, OpUpdate, OpDelete or OpAccount
	DID    string

	Collection string // record events only, like all below but Status
	Rkey       string
	Rev        string
	Removed    []Link // in order of their sources and targets, like Added
	Added      []Link

	Status logrow.Status // OpAccount only: the new one
}

// Link is one link of a record.
type Link struct {
	Path   string // where in the record, without the leading dot: subject.uri
	Target string // as link.Parse normalises it
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
	// Walk is the most that the query may read, in entries of a list, some 0.1 µs each; beyond it the answer is a
	// WalkError. 0: no bound.
	Walk int64
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

// Pair names a list: the links to a target from one source.
type Pair struct {
	Target string // as link.Parse normalises it
	Source Source
}

// PairCount counts the links of a list, and the accounts that made them.
type PairCount struct {
	Links int64
	DIDs  int64
}

// PairsAtOnce is how many lists Counts counts before it pauses: some milliseconds of work.
const PairsAtOnce = 100

// AccountQuery asks for the links to an account: to its DID, its repo and any of its collections and records.
type AccountQuery struct {
	DID     string
	Sources []Source // only links from these; nil: from all; empty: from none
	Since   int64    // only links of this time or later, microseconds since 1970; 0: from the beginning
	Until   int64    // only links of before this time; 0: to the end
	Limit   int      // items in a page, at least 1
	After   []byte   // a Page's Next, of the same query; nil: the first page
}

// FeedQuery asks for the newest links to one of three things: a target, an account with all that is its own, or every
// target whose text begins in one of some ways, such as the pages of a web site.
type FeedQuery struct {
	Target   string   // as link.Parse normalises it; empty: not asked for
	DID      string   // of an account; empty: not asked for
	Prefixes []string // of normalised targets that are neither DIDs nor at-uris of DIDs; none contains another
	Sources  []Source // only links from these; nil: from all; empty: from none
	Limit    int      // links, at least 1
}

// AccountLink is a link to something of an account.
type AccountLink struct {
	Record Record
	Path   string // where in the record
	Target string
	TimeUS int64 // microseconds since 1970: what lists are ordered by
}

// AccountCount counts the links to an account from one source.
type AccountCount struct {
	Source
	Links int64
}

// TimelineQuery asks when a target was linked to.
type TimelineQuery struct {
	Target  string // as link.Parse normalises it
	Sources []Source
	Since   int64 // only links of this time or later, microseconds since 1970; 0: from the beginning
	Until   int64 // only links of before this time; 0: to the end
	Most    int   // spans of time, at least 1
}

// Timeline counts links by spans of time, which are as long as each other and begin at round times, in UTC.
type Timeline struct {
	FromUS int64 // where the first span begins, microseconds since 1970; 0: there are no links
	StepUS int64 // how long each is
	Lists  []TimelineList
}

// TimelineList is the links from one source.
type TimelineList struct {
	Total  int64   // all that was asked for
	Older  int64   // of them, those before the first span
	Counts []int64 // of them, those in each span
}

// Body is a record's content.
type Body struct {
	CID  string
	CBOR []byte // DAG-CBOR; body.JSON turns it into JSON. Nil: there is none.
}

// MaxBodies is how many records Bodies takes at once: with a megabyte each, the largest that there are, an answer is
// 100 MB.
const MaxBodies = 100

// Followed is the time up to which an upstream was followed without a break.
type Followed struct {
	UntilUS int64 // by its clock, microseconds since 1970: what it saw before has come; 0: not known
	ClockUS int64 // its clock less ours as far as events have shown it, microseconds; 0 at most
}
