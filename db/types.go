package db

import (
	"math"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// Op and Status are numbers of the log's rows.
type (
	Op     = logrow.Op
	Status = logrow.Status
)

// MinTimeCursor divides the cursors of Jetstream: smaller cursors are sequence numbers, others are times in
// microseconds since 1970.
const MinTimeCursor = index.MinTimeCursor

// The ops of events, from package logrow.
const (
	OpCreate  = logrow.OpCreate
	OpUpdate  = logrow.OpUpdate
	OpDelete  = logrow.OpDelete
	OpAccount = logrow.OpAccount
	OpSync    = logrow.OpSync
)

// The statuses of accounts, from package logrow.
const (
	StatusActive      = logrow.StatusActive
	StatusDeactivated = logrow.StatusDeactivated
	StatusSuspended   = logrow.StatusSuspended
	StatusTakendown   = logrow.StatusTakendown
	StatusDeleted     = logrow.StatusDeleted
	StatusInactive    = logrow.StatusInactive
)

// Batch is a run of events from one upstream host, in the order that it sent them.
type Batch struct {
	Host   string
	Kind   string // of the host: v2 or v1; empty: v2
	Events []apply.Event
	Seq    uint64 // of the last event seen, in the slice or not; 0: that of the last of Events
	TimeUS int64  // its time; unused when Seq is 0
}

// end returns the position and the time of the upstream after the batch.
func (b *Batch) end() (seq uint64, timeUS int64) {
	seq = b.Seq
	timeUS = b.TimeUS
	if seq == 0 && len(b.Events) > 0 {
		last := &b.Events[len(b.Events)-1]
		seq = last.Seq
		timeUS = last.TimeUS
	}
	return min(seq, math.MaxInt64), timeUS // SQLite's integers are signed
}

// The parameters and the answers of the queries, from package index.
type (
	Source       = index.Source
	Record       = index.Record
	Link         = index.Link
	Page[T any]  = index.Page[T]
	ListQuery    = index.ListQuery
	WalkError    = index.WalkError
	SourcesQuery = index.SourcesQuery
	SourceCount  = index.SourceCount
	ManyQuery    = index.ManyQuery
	ManyItem     = index.ManyItem
	OtherCount   = index.OtherCount
	Pair         = index.Pair
	PairCount    = index.PairCount
	AccountQuery = index.AccountQuery
	FeedQuery    = index.FeedQuery
	AccountLink  = index.AccountLink
	AccountCount = index.AccountCount

	TimelineQuery = index.TimelineQuery
	Timeline      = index.Timeline
	TimelineList  = index.TimelineList

	Body     = index.Body
	LogEntry = index.LogEntry
	Followed = index.Followed
)

// MaxBodies is the number of records that Bodies accepts at once. PairsAtOnce is the number of lists that Counts counts
// before it pauses.
const (
	MaxBodies   = index.MaxBodies
	PairsAtOnce = index.PairsAtOnce
)

// ErrBadCursor is the error of a query whose After is no Page's Next, and ErrLogPruned that of Log when rows after the
// given one are pruned.
var (
	ErrBadCursor = index.ErrBadCursor
	ErrLogPruned = index.ErrLogPruned
)
