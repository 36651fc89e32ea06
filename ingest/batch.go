package ingest

import (
	"unsafe"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream"
)

// batch collects events until they are committed. It copies their text, which is valid only until the next event is
// read.
type batch struct {
	db.Batch
	bodies bool // keep the content of records with links

	seen     int // events, including those outside the slice
	bodiless int // records whose content can't be converted from JSON
	links    []db.Link
	text     arena
}

// The memory of a batch beside its text until it is committed, in bytes. A link takes 32 here, and about 250 while it
// is applied: its keys in two orders, its log row and the arguments of the statement. An event takes 150 here, and 100
// for its log row.
const (
	linkCost  = 256
	eventCost = 256
)

// cost returns the approximate memory that the batch takes until it is committed, in bytes.
func (b *batch) cost() int { return b.text.size + linkCost*len(b.links) + eventCost*len(b.Events) }

// keepLinks is the largest capacity for links that a batch keeps for reuse: batchBytes allow no more links. A single
// record may have more.
const keepLinks = batchBytes / linkCost

func (b *batch) reset() {
	b.Batch = db.Batch{Events: b.Events[:0]}
	b.seen = 0
	b.bodiless = 0
	b.links = b.links[:0]
	if cap(b.links) > 2*keepLinks {
		b.links = nil
	}
	b.text.reset()
}

// add copies an event if it is in a slice. It returns an error if the record can't be read.
func (b *batch) add(e *upstream.Event, x *extract.Extractor, s *Slice) (err error) {
	b.seen++
	b.Seq = e.Pos
	b.TimeUS = e.TimeUS
	if e.Op == 0 || !s.keeps(e) {
		return nil
	}
	out := apply.Event{
		Seq:        e.Pos,
		TimeUS:     e.TimeUS,
		Op:         e.Op,
		Status:     e.Status,
		DID:        b.text.copy(e.DID),
		Collection: b.text.copy(e.Collection),
		Rkey:       b.text.copy(e.Rkey),
		Rev:        b.text.copy(e.Rev),
	}
	if e.Op == db.OpCreate || e.Op == db.OpUpdate {
		// A record that can't be read counts as a record without links, so that the links of its earlier version are
		// removed.
		out.Links, err = b.addLinks(e, x, s)
		if b.bodies && len(out.Links) > 0 {
			b.addBody(&out, e)
		}
	}
	b.Events = append(b.Events, out)
	return err
}

// linksOf returns the links of an event's record, valid until the extractor's next record.
func linksOf(e *upstream.Event, x *extract.Extractor) ([]extract.Link, error) {
	if e.JSON != nil {
		return x.JSON(e.JSON)
	}
	return x.CBOR(e.CBOR)
}

// addLinks copies the links of a record that are in a slice.
func (b *batch) addLinks(e *upstream.Event, x *extract.Extractor, s *Slice) (added []db.Link, err error) {
	links, err := linksOf(e, x)
	first := len(b.links)
	var from []byte // the path that was copied last
	var path string
	for _, l := range links {
		if !s.keepsLink(e.Collection, text(l.Path), text(l.Target)) {
			continue
		}
		// The extractor returns the same memory for the path of adjacent links.
		if unsafe.SliceData(l.Path) != unsafe.SliceData(from) || len(l.Path) != len(from) {
			from = l.Path
			path = b.text.copyBytes(l.Path)
		}
		b.links = append(b.links, db.Link{Path: path, Target: b.text.copyBytes(l.Target)})
	}
	return b.links[first:len(b.links):len(b.links)], err
}

// text returns b as a string without a copy. The string is valid as long as b is.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// addBody copies the content of a record, as DAG-CBOR.
func (b *batch) addBody(out *apply.Event, e *upstream.Event) {
	out.CID = b.text.copy(e.CID)
	content, err := e.Body()
	if err != nil {
		b.bodiless++
	}
	if len(content) > 0 {
		out.Body = b.text.copyRaw(content)
	}
}

// arena holds the text of a batch in a few large pieces, so that a string needs no allocation.
type arena struct {
	full [][]byte
	cur  []byte
	size int // of all text
}

// arenaPiece is the size of a piece, in bytes. A batch of a thousand likes takes about 200 kB.
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

// reset drops all text and keeps one piece of memory.
func (a *arena) reset() {
	a.full = nil
	a.size = 0
	a.cur = a.cur[:0]
	if cap(a.cur) > arenaPiece {
		a.cur = nil
	}
}
