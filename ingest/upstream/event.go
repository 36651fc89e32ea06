// Package upstream reads events from Jetstream servers: the live stream (v1 and v2) and the archive. It checks all
// input, chooses between hosts and retries requests. It writes nothing.
package upstream

import (
	"github.com/bluesky-social/jetstream/segment"
	"github.com/jcalabro/atmos/cbor"

	"weft.dev/weft/db"
)

// Event is one event of an upstream, of any protocol. Its text is valid until the next event is read.
type Event struct {
	Pos        uint64 // its cursor: a sequence number, or a time in microseconds from db.MinTimeCursor on
	TimeUS     int64
	DID        string
	Op         db.Op // 0: it doesn't change an index
	Collection string
	Rkey       string
	Rev        string
	CBOR, JSON []byte // the record, in one of the two
	CID        string // of the record; empty: the protocol doesn't have it
	Status     db.Status
}

// ReadRow reads a row of the archive. ErrSkip is a row of an unknown kind.
func (e *Event) ReadRow(r *segment.Event) error {
	*e = Event{Pos: r.Seq, TimeUS: r.DisplayTimeUS(), DID: r.DID}
	switch r.Kind {
	case segment.KindCreate, segment.KindCreateResync:
		e.Op = db.OpCreate
	case segment.KindUpdate:
		e.Op = db.OpUpdate
	case segment.KindDelete:
		e.Op = db.OpDelete
	case segment.KindAccount, segment.KindSync:
		return e.setControl(r)
	case segment.KindIdentity:
		return nil
	default:
		return ErrSkip
	}
	e.Collection = r.Collection
	e.Rkey = r.Rkey
	e.Rev = r.Rev
	if e.Op != db.OpDelete {
		e.CBOR = r.Payload
	}
	return nil
}

// setControl reads a row of an account's status or of a sync. They are a few rows in a thousand, so a map for each
// costs little.
func (e *Event) setControl(r *segment.Event) error {
	v, err := cbor.Unmarshal(r.Payload)
	if err != nil {
		return err
	}
	m, _ := v.(map[string]any)
	if r.Kind == segment.KindSync {
		e.Op = db.OpSync
		e.Rev, _ = m["rev"].(string)
		return nil
	}
	var a account
	a.active, _ = m["active"].(bool)
	a.status, _ = m["status"].(string)
	e.Op = db.OpAccount
	e.Status = a.known()
	return nil
}
