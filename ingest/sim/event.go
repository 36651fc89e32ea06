package sim

import "time"

// Kind is the kind of an event, spelled as on the wire.
type Kind string

const (
	KindCommit   Kind = "commit"
	KindIdentity Kind = "identity"
	KindAccount  Kind = "account"
	KindSync     Kind = "sync"
)

// Operations of a commit, spelled as on the wire.
const (
	OpCreate = "create"
	OpUpdate = "update"
	OpDelete = "delete"
)

// Account statuses, spelled as on the wire. An active account has none.
const (
	StatusDeactivated = "deactivated"
	StatusSuspended   = "suspended"
	StatusTakendown   = "takendown"
	StatusDeleted     = "deleted"
)

// Event is one event of the network, for both wires and the archive.
type Event struct {
	Seq    uint64 // from 1, consecutive
	TimeUS int64  // unix µs, strictly increasing
	Kind   Kind
	DID    string

	// Rev is set for commits and syncs. It is a TID and never decreases within an account; several operations of one
	// commit share it.
	Rev        string
	Collection string
	Rkey       string
	Operation  string // OpCreate, OpUpdate, OpDelete
	CBOR       []byte // the record in canonical DAG-CBOR; nil for deletes. Shared: read only
	CID        string // CID of the record; empty for deletes

	// Account events: Status is empty when Active.
	Active bool
	Status string

	// Handle is set for identity events; it may be empty.
	Handle string

	// Resync marks a row of the repo that follows a sync. It isn't on the wire; v1 has no such rows.
	Resync bool

	// Late marks a commit of an already deleted account: a consumer must ignore it. It isn't on the wire.
	Late bool
}

// relaySeq returns the sequence number of the relay upstream of Jetstream; it is far ahead of Jetstream's.
func (e *Event) relaySeq() int64 { return int64(e.Seq) + 7_000_000_000 }

// relayLag is the time between the relay and Jetstream. Any value but zero shows which of the two times a reader uses.
const relayLag = 30 * time.Millisecond

func (e *Event) relayTime(b []byte) []byte {
	return appendTime(b, e.TimeUS-relayLag.Microseconds())
}

// appendTime writes a time in unix µs as RFC 3339 in UTC with milliseconds, as most clients write createdAt.
func appendTime(b []byte, us int64) []byte {
	return time.UnixMicro(us).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// payload returns the content of the event in a segment: the record, or the upstream event in CBOR.
func (e *Event) payload() []byte {
	var w cborw
	var t [32]byte
	switch e.Kind {
	case KindCommit:
		return e.CBOR
	case KindAccount:
		n := 4
		if e.Status != "" {
			n++
		}
		w.object(n)
		w.kv("did", e.DID)
		w.kvInt("seq", e.relaySeq())
		w.text("time")
		w.textBytes(e.relayTime(t[:0]))
		w.text("active")
		w.boolean(e.Active)
		if e.Status != "" {
			w.kv("status", e.Status)
		}
	case KindIdentity:
		n := 3
		if e.Handle != "" {
			n++
		}
		w.object(n)
		w.kv("did", e.DID)
		w.kvInt("seq", e.relaySeq())
		w.text("time")
		w.textBytes(e.relayTime(t[:0]))
		if e.Handle != "" {
			w.kv("handle", e.Handle)
		}
	case KindSync:
		w.object(5)
		w.kv("did", e.DID)
		w.kv("rev", e.Rev)
		w.kvInt("seq", e.relaySeq())
		w.text("time")
		w.textBytes(e.relayTime(t[:0]))
		w.text("blocks")
		w.bytes(syncBlocks)
	}
	return w.b
}

// syncBlocks replaces the CAR file of a sync's commit: the lexicon requires it, but consumers of Jetstream don't read
// it.
var syncBlocks = []byte{0x3a, 0xa2, 0x65, 'r', 'o', 'o', 't', 's'}
