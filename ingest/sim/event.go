package sim

import "time"

// Kind is the class of an event, spelled as on the wire.
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

// Event is one event of the network, in the shape that serves both wires and the archive.
type Event struct {
	Seq    uint64 // from 1, without holes
	TimeUS int64  // unix µs, strictly increasing
	Kind   Kind
	DID    string

	// Commits; Rev also on syncs. Rev is a TID and never falls within an account; several operations of one commit
	// share it.
	Rev        string
	Collection string
	Rkey       string
	Operation  string // OpCreate, OpUpdate, OpDelete
	CBOR       []byte // the record in canonical DAG-CBOR; nil for deletes. Shared: read only
	CID        string // of CBOR; empty for deletes

	// Accounts: Status is empty when Active.
	Active bool
	Status string

	// Identities; may be empty.
	Handle string

	// Resync marks a row of the whole repo that follows a sync. It isn't on the wire; v1 doesn't carry such rows at
	// all.
	Resync bool

	// Late marks a commit of an account that was deleted before: a consumer must ignore it. It isn't on the wire.
	Late bool
}

// relaySeq is the sequence number that the relay upstream of Jetstream gave the event; those run far ahead of
// Jetstream's.
func (e *Event) relaySeq() int64 { return int64(e.Seq) + 7_000_000_000 }

// relayLag is how long before Jetstream the relay saw an event: any value that isn't zero shows which time a reader
// took.
const relayLag = 30 * time.Millisecond

func (e *Event) relayTime(b []byte) []byte {
	return appendTime(b, e.TimeUS-relayLag.Microseconds())
}

// appendTime writes a time in unix µs as RFC 3339 in UTC with milliseconds, as most clients write createdAt.
func appendTime(b []byte, us int64) []byte {
	return time.UnixMicro(us).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// payload is what a segment keeps for the event: the record, or the upstream event in CBOR.
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

// syncBlocks stands for the CAR file of a sync's commit: required by the lexicon, and not read downstream of
// Jetstream.
var syncBlocks = []byte{0x3a, 0xa2, 0x65, 'r', 'o', 'o', 't', 's'}
