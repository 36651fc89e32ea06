package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/jetstream/segment"
	"github.com/jcalabro/atmos/cbor"

	"weft.dev/weft/db"
)

// Event is one event of an upstream, of any protocol. Its text is valid until the next event is read.
type Event struct {
	Pos        uint64 // its cursor: a sequence number, or a time in microseconds from MinTimeCursor on
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

// MinTimeCursor is db.MinTimeCursor.
const MinTimeCursor = db.MinTimeCursor

var (
	errUnknownOperation = errors.New("unknown operation")
	ErrNoEvent          = errors.New("no event")
	ErrSkip             = errors.New("unknown kind of message")
)

// account is com.atproto.sync.subscribeRepos#account, as in frames.
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

// frameV1 is a frame of /subscribe.
type frameV1 struct {
	DID     string   `json:"did"`
	TimeUS  int64    `json:"time_us"`
	Cursor  uint64   `json:"cursor"` // the sequence number, from servers that also speak v2
	Kind    string   `json:"kind"`
	Commit  *commit  `json:"commit"`
	Account *account `json:"account"`
}

// ReadFrame reads a frame of a live stream. An error frame is a *StreamError.
func (e *Event) ReadFrame(kind string, text []byte) error {
	if kind == KindV1 {
		return e.readV1(text)
	}
	return e.readV2(text)
}

func (e *Event) readV1(text []byte) error {
	var f frameV1
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%w: %w", ErrNoEvent, err)
	}
	*e = Event{Pos: uint64(max(f.TimeUS, 0)), TimeUS: f.TimeUS, DID: f.DID}
	if f.Cursor > 0 {
		e.Pos = f.Cursor
	}
	switch {
	case f.DID == "" || f.TimeUS <= 0:
		return ErrNoEvent
	case f.Kind == "commit" && f.Commit != nil:
		return e.setCommit(f.Commit)
	case f.Kind == "account" && f.Account != nil:
		e.Op = db.OpAccount
		e.Status = status(f.Account)
	case f.Kind == "identity":
	case f.Kind == "commit" || f.Kind == "account":
		return ErrNoEvent
	default:
		return ErrSkip
	}
	return nil
}

// frameV2 is a frame of subscribeEvents.
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

// StreamError is an error frame, or the XRPC error of a refused stream. The server closes the stream after it.
type StreamError struct{ Name, Message string }

func (e *StreamError) Error() string { return e.Name + ": " + e.Message }

const typesV2 = "network.bsky.jetstream.subscribeEvents#"

func (e *Event) readV2(text []byte) error {
	var f frameV2
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%w: %w", ErrNoEvent, err)
	}
	p := &f.Payload
	switch {
	case f.Type == "error":
		return &StreamError{f.Error, f.Message}
	case f.Type == "":
		return ErrNoEvent
	case f.Type != "message":
		return ErrSkip
	case p.Type == typesV2+"info":
		return ErrSkip // the caller checks by itself where the stream begins
	}
	*e = Event{Pos: p.Seq, DID: p.DID}
	t, err := time.Parse(time.RFC3339Nano, p.Time)
	if err == nil {
		e.TimeUS = t.UnixMicro()
	}
	isWhole := p.DID != "" && p.Seq > 0 && err == nil
	switch kind := strings.TrimPrefix(p.Type, typesV2); {
	case kind == p.Type:
		return ErrSkip
	case kind == "commit" && isWhole:
		return e.setCommit(&p.commit)
	case kind == "account" && isWhole && p.Account != nil:
		e.Op = db.OpAccount
		e.Status = status(p.Account)
	case kind == "sync" && isWhole && p.Sync != nil:
		e.Op = db.OpSync
		e.Rev = p.Sync.Rev
	case kind == "identity" && isWhole:
	case kind == "commit", kind == "account", kind == "sync", kind == "identity":
		return ErrNoEvent
	default:
		return ErrSkip
	}
	return nil
}

func (e *Event) setCommit(c *commit) error {
	e.Collection = c.Collection
	e.Rkey = c.Rkey
	e.Rev = c.Rev
	switch c.Operation {
	case "create":
		e.Op = db.OpCreate
	case "update":
		e.Op = db.OpUpdate
	case "delete":
		e.Op = db.OpDelete
		return nil
	default:
		return fmt.Errorf("%w: %w", ErrNoEvent, errUnknownOperation)
	}
	e.JSON = c.Record
	e.CID = c.CID
	return nil
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
	a.Active, _ = m["active"].(bool)
	a.Status, _ = m["status"].(string)
	e.Op = db.OpAccount
	e.Status = status(&a)
	return nil
}

// status maps the reasons that com.atproto.sync.subscribeRepos#account names. An unknown reason hides the account.
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
