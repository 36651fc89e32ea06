package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/jetstream/segment"
	"github.com/jcalabro/atmos/cbor"

	"weft.dev/weft/db"
)

// event is one event of an upstream, from whichever wire. What it points to is valid until the next one is read.
type event struct {
	pos        uint64 // where the upstream counts it: a sequence number, or from seqLimit on a time in microseconds
	timeUS     int64
	did        string
	op         db.Op // 0: nothing that concerns an index
	collection string
	rkey       string
	rev        string
	cbor, json []byte // the record, in one of them
	cid        string // of the record; empty where the wire doesn't say
	status     db.Status
}

var (
	errUnknownOperation = errors.New("unknown operation")
	errNoEvent          = errors.New("no event")
	errSkip             = errors.New("unknown kind of message")
)

// account is com.atproto.sync.subscribeRepos#account, as frames wrap it.
type account struct {
	Active bool   `json:"active"`
	Status string `json:"status"`
}

type commit struct {
	Rev        string          `json:"rev"`
	Operation  string          `json:"operation"`
	Collection string          `json:"collection"`
	Rkey       string          `json:"rkey"`
	Record     json.RawMessage `json:"record"`
	CID        string          `json:"cid"`
}

// frameV1 is what /subscribe sends.
type frameV1 struct {
	DID     string   `json:"did"`
	TimeUS  int64    `json:"time_us"`
	Cursor  uint64   `json:"cursor"` // of servers that speak v2 too: to be preferred to the time
	Kind    string   `json:"kind"`
	Commit  *commit  `json:"commit"`
	Account *account `json:"account"`
}

func (e *event) readV1(text []byte) error {
	var f frameV1
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%w: %w", errNoEvent, err)
	}
	*e = event{pos: uint64(max(f.TimeUS, 0)), timeUS: f.TimeUS, did: f.DID}
	if f.Cursor > 0 {
		e.pos = f.Cursor
	}
	switch {
	case f.DID == "" || f.TimeUS <= 0:
		return errNoEvent
	case f.Kind == "commit" && f.Commit != nil:
		return e.setCommit(f.Commit)
	case f.Kind == "account" && f.Account != nil:
		e.op, e.status = db.OpAccount, status(f.Account)
	case f.Kind == "identity":
	case f.Kind == "commit" || f.Kind == "account":
		return errNoEvent
	default:
		return errSkip
	}
	return nil
}

// frameV2 is what subscribeEvents sends.
type frameV2 struct {
	Type    string    `json:"$type"`
	Payload payloadV2 `json:"payload"`
	Error   string    `json:"error"`
	Message string    `json:"message"`
}

type payloadV2 struct {
	Type string `json:"$type"`
	Seq  uint64 `json:"seq"`
	DID  string `json:"did"`
	Time string `json:"time"`
	commit
	Account *account `json:"account"`
	Sync    *struct {
		Rev string `json:"rev"`
	} `json:"sync"`
}

// streamError is an error frame, behind which the server closes.
type streamError struct{ name, message string }

func (e *streamError) Error() string { return e.name + ": " + e.message }

const typesV2 = "network.bsky.jetstream.subscribeEvents#"

func (e *event) readV2(text []byte) error {
	var f frameV2
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%w: %w", errNoEvent, err)
	}
	p := &f.Payload
	switch {
	case f.Type == "error":
		return &streamError{f.Error, f.Message}
	case f.Type == "":
		return errNoEvent
	case f.Type != "message":
		return errSkip
	case p.Type == typesV2+"info":
		return errSkip // checkStart asks where the stream begins
	}
	*e = event{pos: p.Seq, did: p.DID}
	t, err := time.Parse(time.RFC3339Nano, p.Time)
	if err == nil {
		e.timeUS = t.UnixMicro()
	}
	known := p.DID != "" && p.Seq > 0 && err == nil
	switch {
	case p.Type == typesV2+"commit" && known:
		return e.setCommit(&p.commit)
	case p.Type == typesV2+"account" && known && p.Account != nil:
		e.op, e.status = db.OpAccount, status(p.Account)
	case p.Type == typesV2+"sync" && known && p.Sync != nil:
		e.op, e.rev = db.OpSync, p.Sync.Rev
	case p.Type == typesV2+"identity" && known:
	case p.Type == typesV2+"commit", p.Type == typesV2+"account", p.Type == typesV2+"sync", p.Type == typesV2+"identity":
		return errNoEvent
	default:
		return errSkip
	}
	return nil
}

func (e *event) setCommit(c *commit) error {
	e.collection, e.rkey, e.rev = c.Collection, c.Rkey, c.Rev
	switch c.Operation {
	case "create":
		e.op = db.OpCreate
	case "update":
		e.op = db.OpUpdate
	case "delete":
		e.op = db.OpDelete
		return nil
	default:
		return fmt.Errorf("%w: %w", errNoEvent, errUnknownOperation)
	}
	e.json, e.cid = c.Record, c.CID
	return nil
}

// readRow reads a row of the archive.
func (e *event) readRow(r *segment.Event) error {
	*e = event{pos: r.Seq, timeUS: r.DisplayTimeUS(), did: r.DID}
	switch r.Kind {
	case segment.KindCreate, segment.KindCreateResync:
		e.op = db.OpCreate
	case segment.KindUpdate:
		e.op = db.OpUpdate
	case segment.KindDelete:
		e.op = db.OpDelete
	case segment.KindAccount, segment.KindSync:
		// Some in a thousand: a map each is no matter.
		v, err := cbor.Unmarshal(r.Payload)
		if err != nil {
			return err
		}
		m, _ := v.(map[string]any)
		if r.Kind == segment.KindSync {
			e.op = db.OpSync
			e.rev, _ = m["rev"].(string)
			return nil
		}
		e.op = db.OpAccount
		var a account
		a.Active, _ = m["active"].(bool)
		a.Status, _ = m["status"].(string)
		e.status = status(&a)
		return nil
	case segment.KindIdentity:
		return nil
	default:
		return errSkip
	}
	e.collection, e.rkey, e.rev = r.Collection, r.Rkey, r.Rev
	if e.op != db.OpDelete {
		e.cbor = r.Payload
	}
	return nil
}

// status maps the reasons that com.atproto.sync.subscribeRepos#account names; a new one hides the account.
func status(a *account) db.Status {
	if a.Active {
		return db.StatusActive
	}
	switch a.Status {
	case "deleted":
		return db.StatusDeleted
	case "deactivated":
		return db.StatusDeactivated
	case "suspended":
		return db.StatusSuspended
	case "takendown":
		return db.StatusTakendown
	}
	return db.StatusInactive
}
