package ingest

import (
	"unsafe"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream"
)

// batch gathers events until they are committed. What it holds is its own: what an event points to is valid only until
// the next one is read.
type batch struct {
	db.Batch
	bodies bool // records that link bring their content

	seen     int // events, those that don't concern the index among them
	bodiless int // records whose content can't be made from JSON
	links    []db.Link
	text     arena
}

// What a batch costs beside its text, in bytes of memory until it is committed. A link takes 32 here, and some 250 while it
// is folded: its keys in two orders, its log row and the arguments of the statement that writes it. An event takes 150
// here, and 100 for its log row.
const (
	linkCost  = 256
	eventCost = 256
)

// cost is how many bytes of memory the batch takes, about, on its way into the index.
func (b *batch) cost() int { return b.text.size + linkCost*len(b.links) + eventCost*len(b.Events) }

// keepLinks is how many links' memory a batch keeps for the next events: as many as batchBytes allow, and not those of a
// record that has more.
const keepLinks = batchBytes / linkCost

func (b *batch) reset() {
	b.Batch = db.Batch{Events: b.Events[:0]}
	b.seen = 0
	b.bodiless = 0
	if b.links = b.links[:0]; cap(b.links) > 2*keepLinks {
		b.links = nil
	}
	b.text.reset()
}

// add takes over what a slice keeps of an event. It returns what the extractor made of a record that it could not read.
func (b *batch) add(e *upstream.Event, x *extract.Extractor, s *Slice) (err error) {
	b.seen++
	b.Seq, b.TimeUS = e.Pos, e.TimeUS
	if e.Op == 0 || !s.keeps(e) {
		return nil // an identity changes nothing here
	}
	out := db.Event{
		Seq: e.Pos, TimeUS: e.TimeUS, Op: e.Op, Status: e.Status, DID: b.text.copy(e.DID),
		Collection: b.text.copy(e.Collection), Rkey: b.text.copy(e.Rkey), Rev: b.text.copy(e.Rev),
	}
	if e.Op == db.OpCreate || e.Op == db.OpUpdate {
		// A record that can't be read has no links: those of the version before it are gone all the same.
		var links []extract.Link
		if e.JSON != nil {
			links, err = x.JSON(e.JSON)
		} else {
			links, err = x.CBOR(e.CBOR)
		}
		first, from, path := len(b.links), []byte(nil), ""
		for _, l := range links {
			if !s.keepsLink(e.Collection, l.Path) {
				continue
			}
			if unsafe.SliceData(l.Path) != unsafe.SliceData(from) || len(l.Path) != len(from) {
				from, path = l.Path, b.text.copyBytes(l.Path) // the extractor gives a path once: elements of a list share it
			}
			b.links = append(b.links, db.Link{Path: path, Target: b.text.copyBytes(l.Target)})
		}
		out.Links = b.links[first:len(b.links):len(b.links)]
		if b.bodies && len(out.Links) > 0 {
			out.CID = b.text.copy(e.CID)
			content, failed := e.Body()
			if failed != nil {
				b.bodiless++
			}
			if len(content) > 0 {
				out.Body = b.text.copyRaw(content)
			}
		}
	}
	b.Events = append(b.Events, out)
	return err
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
