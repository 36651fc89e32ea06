package wire

import "time"

// Status is the answer of /status, for the operator of a weft and for clients that check its state.
type Status struct {
	Version     string       `json:"version"`
	Instance    string       `json:"instance"`
	Ready       bool         `json:"ready"`
	Reason      string       `json:"reason,omitempty"`   // why it is not ready
	Degraded    string       `json:"degraded,omitempty"` // a fault that does not make answers wrong
	Index       StatusIndex  `json:"index"`
	Space       StatusSpace  `json:"space"`
	Upstream    *Upstream    `json:"upstream"`            // null: a follower
	Replication *Replication `json:"replication"`         // null: this process keeps no replica
	Following   *Following   `json:"following,omitempty"` // of a follower
	Gaps        []StatusGap  `json:"gaps"`                // open ones, the newest hundred at most
	OpenGaps    int64        `json:"open_gaps"`
	Faults      []Fault      `json:"faults"` // newest first
	History     History      `json:"history"`
}

// StatusIndex is the statistics of the index.
type StatusIndex struct {
	Links      int64  `json:"links"`
	Records    int64  `json:"records"`
	Actors     int64  `json:"actors"`
	LogSeq     uint64 `json:"log_seq"`    // the newest log row
	LogOldest  uint64 `json:"log_oldest"` // the oldest log row that is kept; 0: none
	Unsealed   int64  `json:"unsealed"`   // log rows that no segment has
	Segments   int    `json:"segments"`
	Runs       int    `json:"runs"` // sorted runs, those in segments included
	Jobs       int    `json:"jobs"` // status changes of large accounts in progress
	Sealing    bool   `json:"sealing"`
	Compacting bool   `json:"compacting"`
	Failed     string `json:"failed,omitempty"` // the write fault that stopped writing
	Paused     string `json:"paused,omitempty"` // why indexing is paused for lack of disk space; it resumes by itself

	Retention []StatusRule `json:"retention,omitempty"` // the rules of --keep, the most specific first; absent: none
}

// StatusRule is a rule of --keep and what it has come to.
type StatusRule struct {
	Links   string     `json:"links_from"`       // a source, a collection, a group of collections, or * for all
	Keep    string     `json:"keep"`             // a time such as 90d, forever, or fit: as long as --disk allows
	Since   *time.Time `json:"since"`            // the index has links from this time on; null: all
	Earlier bool       `json:"by_earlier_rules"` // since is later than the rule asks for: earlier rules kept less
}

// Text returns what the rule keeps in words.
func (r *StatusRule) Text() string {
	text := r.Keep
	if r.Keep == "fit" {
		text = "as long as the disk budget allows"
	}
	if r.Since != nil {
		text += ", since " + r.Since.UTC().Format("2006-01-02 15:04 UTC")
	}
	if r.Earlier {
		text += " by an earlier rule"
	}
	return text
}

// StatusSpace is the disk and memory of the index. A figure that is not known yet, or not on this system, is null.
type StatusSpace struct {
	Database int64         `json:"database_bytes"`
	WAL      int64         `json:"wal_bytes"`
	Segments int64         `json:"segment_bytes"`
	Memory   int64         `json:"memory_bytes"`
	Levels   []StatusLevel `json:"levels"` // of segments, from 0
	PerLink  *float64      `json:"bytes_per_link"`
	Written  *float64      `json:"write_amplification"` // bytes written for each byte sealed into a segment, since start
	Free     *int64        `json:"free_bytes"`          // of the file system, or of the budget where that has less room
	Total    *int64        `json:"total_bytes"`
	Budget   *int64        `json:"budget_bytes"`  // that all files may take; null: no budget
	Reserve  int64         `json:"reserve_bytes"` // that stay free: below it, indexing pauses
	Growth   *int64        `json:"bytes_per_day"`
	Measured int64         `json:"measured_seconds"` // the time that Growth is measured over, a day at most
	FullAt   *time.Time    `json:"full_at"`          // free space is down to the reserve; null: not within ten years
}

// StatusLevel is the segments of one level.
type StatusLevel struct {
	Level int   `json:"level"`
	Files int   `json:"files"`
	Links int64 `json:"links"`
	Bytes int64 `json:"bytes"`
}

// StatusGap is a gap and the attempts to fill it.
type StatusGap struct {
	ID    int64  `json:"id"`
	Host  string `json:"host"`
	From  uint64 `json:"from"` // both ends included
	To    uint64 `json:"to"`
	Why   string `json:"why"`
	State string `json:"state"`
	Found string `json:"found"`
	Tries int    `json:"tries"`
	Note  string `json:"note"` // the outcome of the last attempt
}

// Fault is a warning or an error of the log. Equal ones are combined.
type Fault struct {
	Level   string `json:"level"` // warn or error
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"` // of the newest
	Do      string `json:"do,omitempty"`     // advice for the operator
	Count   int    `json:"count"`
	First   string `json:"first"`
	Last    string `json:"last"`
}

// History is the rates of the last minutes, newest last.
type History struct {
	Every  float64        `json:"every_seconds"`
	Points []HistoryPoint `json:"points"`
}

// HistoryPoint is the rates of one interval. Links is negative if more links were removed than added.
type HistoryPoint struct {
	Events float64 `json:"events"` // per second
	Links  float64 `json:"links"`  // per second
	Lag    float64 `json:"lag"`    // seconds
}

// Upstream is the source of events.
type Upstream struct {
	State      string         `json:"state"`     // one of the states below
	Connected  bool           `json:"connected"` // events arrive, or the upstream has none to send
	Host       string         `json:"host"`      // present or last followed server
	Kind       string         `json:"kind"`      // v2, v1, or empty while it is not known
	Degraded   string         `json:"degraded"`  // limits of the present mode
	Detail     string         `json:"detail"`    // of the state: its start, its reason, and the next attempt
	LagSeconds float64        `json:"lag_seconds"`
	Seq        uint64         `json:"seq"`       // position of the newest event committed
	Committed  uint64         `json:"committed"` // position up to which the index has everything
	Queued     int            `json:"queued"`    // events received and not committed
	Hosts      []UpstreamHost `json:"hosts"`     // in order of preference
	Replay     *Replay        `json:"replay"`    // of the archive; null: none is in progress
	Slice      string         `json:"slice"`
	Parts      []SlicePart    `json:"parts"`

	Subjects []SliceSubjects `json:"subjects,omitempty"` // of a slice by subject
}

// The states of an Upstream.
const (
	UpstreamStarting     = "starting"     // weft has not connected yet
	UpstreamConnecting   = "connecting"   // weft asks the server for its protocol, and opens the stream
	UpstreamReplaying    = "replaying"    // weft reads the archive
	UpstreamWaiting      = "waiting"      // the live stream is open, and its first event has not come
	UpstreamFollowing    = "following"    // events arrive, or the server has none to send
	UpstreamSilent       = "silent"       // the live stream is open, and nothing arrives that should
	UpstreamDisconnected = "disconnected" // the session ended; weft tries again
	UpstreamStopped      = "stopped"      // weft shuts down
)

// UpstreamHost is an upstream of several.
type UpstreamHost struct {
	Host      string `json:"host"`
	Kind      string `json:"kind"`
	Committed uint64 `json:"committed"`
	Failure   string `json:"failure,omitempty"` // reason why it is not followed
	RetryAt   string `json:"retry_at,omitempty"`
}

// Replay is the progress of a replay of an archive. The zero Replay is none.
type Replay struct {
	Host       string    `json:"host"`
	Since      time.Time `json:"since"`
	Segments   int       `json:"segments"`          // that hold events for this index
	Bytes      int64     `json:"bytes"`             // to fetch in all, an estimate: a slice takes parts of segments
	Events     int64     `json:"events"`            // in them, an estimate
	BytesDone  int64     `json:"bytes_done"`        // fetched
	EventsDone int64     `json:"events_done"`       // received
	Seq        uint64    `json:"seq"`               // of the newest event
	TimeUS     int64     `json:"time_us"`           // of the newest event
	Rate       float64   `json:"events_per_second"` // of the last seconds; 0 while nothing comes
	ETA        float64   `json:"eta_seconds"`       // at this rate; 0: unknown
	Waiting    float64   `json:"waiting_seconds"`   // since the archive sent something; 0: it sends, or weft does not read
}

// SlicePart is a part of the network that the index covers. The index also stores it in this form.
type SlicePart struct {
	What  string    `json:"what"`           // a collection, a namespace, or * for all
	Since time.Time `json:"since,omitzero"` // older events may be missing; zero: none since the index began
}

// SliceSubjects is the subjects that the index covers since the same time. A link is certainly in the index if both the
// part of its collection and the group of its subject cover its time.
type SliceSubjects struct {
	Since    time.Time `json:"since,omitzero"` // older links may be missing; zero: none since the index began
	Count    int       `json:"count"`
	Subjects []string  `json:"subjects"` // the first ten
}
