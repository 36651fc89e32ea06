package extract

import (
	"unicode/utf8"

	"weft.dev/weft/link"
)

// token is one step of the tape. start and end delimit the text that belongs to it: of a key or an object's "$type" in
// the record, of a link in Extractor.targets.
type token struct {
	start, end uint32
	kind       tokenKind
	escaped    bool // the text has JSON escapes
}

type tokenKind uint8

const (
	tokObject tokenKind = iota // its text is the "$type"; none, or an empty one, is start == end
	tokArray
	tokClose // the end of the last object or array that is open
	tokKey   // of the next object, array or link
	tokLink
)

// open begins an object or array and returns its index, which close needs.
func (x *Extractor) open(kind tokenKind) int {
	x.tape = append(x.tape, token{kind: kind})
	return len(x.tape) - 1
}

// close ends the object or array that open began. If it turns out to hold no link, it leaves the tape.
func (x *Extractor) close(opened int) {
	if opened == len(x.tape)-1 {
		x.tape = x.tape[:opened]
		return
	}
	x.tape = append(x.tape, token{kind: tokClose})
}

// key begins a member of an object and returns its index for endMember.
func (x *Extractor) key(start, end int, escaped bool) int {
	x.tape = append(x.tape, token{uint32(start), uint32(end), tokKey, escaped})
	return len(x.tape) - 1
}

// endMember drops the key again if its value holds no link.
func (x *Extractor) endMember(key int) {
	if key == len(x.tape)-1 {
		x.tape = x.tape[:key]
	}
}

// text adds the string s to the tape if it is a link.
func (x *Extractor) text(s []byte) {
	from := len(x.targets)
	targets, kind := link.Append(x.targets, s)
	if kind == link.None {
		if !utf8.Valid(s) {
			x.dropped.BadText++
		}
		return
	}
	x.targets = targets
	x.tape = append(x.tape, token{start: uint32(from), end: uint32(len(targets)), kind: tokLink})
}

// member is what an object's reader knows about its members so far.
type member struct {
	object  int  // the object's index on the tape
	typed   bool // a "$type" was seen; of several, the first counts
	special int  // members named "$link" or "$bytes" with a string for a value
	total   int
}

// name is a key's meaning to us.
type name uint8

const (
	other       name = iota
	dollarType       // "$type"
	dollarOther      // "$link" and "$bytes"
)

func nameOf(key []byte) name {
	if len(key) < 5 || key[0] != '$' {
		return other
	}
	switch string(key) {
	case "$type":
		return dollarType
	case "$link", "$bytes":
		return dollarOther
	default:
		return other
	}
}

// stringMember notes that the object has a member of that name whose value is the string at start to end.
func (x *Extractor) stringMember(m *member, n name, start, end int, escaped bool) {
	switch {
	case n == dollarOther:
		m.special++
	case n == dollarType && !m.typed:
		m.typed = true
		t := &x.tape[m.object]
		t.start, t.end, t.escaped = uint32(start), uint32(end), escaped
	}
}

// closeObject ends an object. One whose only member is a "$link" or "$bytes" string is how JSON writes a CID link or
// bytes: what looks like a link in it is none. A CBOR map of that form is no valid record data, but is treated alike,
// so that the same record gives the same links by both ways.
func (x *Extractor) closeObject(m *member) {
	if m.special == 1 && m.total == 1 {
		x.tape = x.tape[:m.object]
		return
	}
	x.close(m.object)
}
