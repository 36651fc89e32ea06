package ingest

import (
	"unsafe"

	"github.com/bluesky-social/jetstream"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/extract"
)

// batch gathers events until they are committed. What it holds is its own: the client's slices are valid only inside
// of its loop.
type batch struct {
	db.Batch
	bodies bool // records that link bring their content

	seen  int // events, those that don't concern the index among them
	links []db.Link
	text  arena
}

func (b *batch) reset() {
	b.Batch = db.Batch{Host: b.Host, Events: b.Events[:0]}
	b.seen = 0
	b.links = b.links[:0]
	b.text.reset()
}

// add takes an event over. It returns what the extractor made of a record that it could not read.
func (b *batch) add(e *jetstream.Event, x *extract.Extractor) error {
	b.seen++
	b.Seq, b.TimeUS = e.Seq, e.TimeUS
	switch {
	case e.Commit != nil:
		return b.addCommit(e, x)
	case e.Account != nil:
		b.Events = append(b.Events, db.Event{
			Seq: e.Seq, TimeUS: e.TimeUS, Op: db.OpAccount, DID: b.text.copy(e.DID),
			Status: status(e.Account),
		})
	case e.Sync != nil:
		b.Events = append(b.Events, db.Event{
			Seq: e.Seq, TimeUS: e.TimeUS, Op: db.OpSync, DID: b.text.copy(e.DID), Rev: b.text.copy(e.Sync.Rev),
		})
	}
	return nil // an identity changes nothing here
}

func (b *batch) addCommit(e *jetstream.Event, x *extract.Extractor) (err error) {
	c := e.Commit
	out := db.Event{
		Seq: e.Seq, TimeUS: e.TimeUS, DID: b.text.copy(e.DID),
		Collection: b.text.copy(c.Collection), Rkey: b.text.copy(c.Rkey), Rev: b.text.copy(c.Rev),
	}
	switch c.Operation {
	case jetstream.OpCreate:
		out.Op = db.OpCreate
	case jetstream.OpUpdate:
		out.Op = db.OpUpdate
	case jetstream.OpDelete:
		out.Op = db.OpDelete
	default:
		return errUnknownOperation
	}
	if out.Op != db.OpDelete {
		// A record that can't be read has no links: those of the version before it are gone all the same.
		var links []extract.Link
		links, err = x.CBOR(c.RecordCBOR)
		first := len(b.links)
		for _, l := range links {
			b.links = append(b.links, db.Link{Path: b.text.copyBytes(l.Path), Target: b.text.copyBytes(l.Target)})
		}
		out.Links = b.links[first:len(b.links):len(b.links)]
		if b.bodies && len(links) > 0 {
			out.CID, out.Body = b.text.copy(c.CID), b.text.copyRaw(c.RecordCBOR)
		}
	}
	b.Events = append(b.Events, out)
	return err
}

// status maps the reasons that com.atproto.sync.subscribeRepos#account names; a new one hides the account.
func status(a *jetstream.Account) db.Status {
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

// arena holds the text of a batch in a few large pieces, so that a string costs no allocation.
type arena struct {
	full [][]byte
	cur  []byte
	size int // of all text
}

// arenaPiece is the size of a piece in bytes; a batch of a thousand likes takes about 200 kB.
const arenaPiece = 64 << 10

func (a *arena) copy(s string) string { return a.copyBytes(unsafe.Slice(unsafe.StringData(s), len(s))) }

// copyBytes copies b and returns it as a string, valid until reset.
func (a *arena) copyBytes(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	c := a.copyRaw(b)
	return unsafe.String(&c[0], len(c))
}

// copyRaw copies b, which isn't empty; the copy is valid until reset.
func (a *arena) copyRaw(b []byte) []byte {
	if len(a.cur)+len(b) > cap(a.cur) {
		if a.cur != nil {
			a.full = append(a.full, a.cur)
		}
		a.cur = make([]byte, 0, max(arenaPiece, len(b)))
	}
	n := len(a.cur)
	a.cur = append(a.cur, b...)
	a.size += len(b)
	return a.cur[n:len(a.cur):len(a.cur)]
}

// reset forgets all text and keeps one piece of memory.
func (a *arena) reset() {
	a.full, a.size = nil, 0
	if a.cur = a.cur[:0]; cap(a.cur) > arenaPiece {
		a.cur = nil
	}
}
