package extract

import (
	"unicode/utf8"

	"weft.dev/weft/link"
)

// token is one step of the tape. start and end delimit its text: the text of a key or of an object's "$type" is in the
// record, the text of a link is in Extractor.targets.
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

// open begins an object or array and returns its index for close.
func (x *Extractor) open(kind tokenKind) int {
	x.tape = append(x.tape, token{kind: kind})
	return len(x.tape) - 1
}

// close ends the object or array that open began. It removes one without a link from the tape.
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

// endMember removes the key again if its value has no link.
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

// member is the state of reading an object's members.
type member struct {
	object  int  // the object's index on the tape
	typed   bool // a "$type" was seen; the first one counts
	special int  // members named "$link" or "$bytes" with a string for a value
	total   int
}

// name classifies a key.
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

// stringMember notes a member of the object with a string, which is at start to end.
func (x *Extractor) stringMember(m *member, n name, start, end int, escaped bool) {
	switch {
	case n == dollarOther:
		m.special++
	case n == dollarType && !m.typed:
		m.typed = true
		t := &x.tape[m.object]
		t.start = uint32(start)
		t.end = uint32(end)
		t.escaped = escaped
	}
}

// closeObject ends an object. An object whose only member is a "$link" or "$bytes" string is a CID link or bytes in
// JSON, and has no link. A CBOR map of that form isn't valid in a record. It is treated in the same way, so that both
// encodings of a record give the same links.
func (x *Extractor) closeObject(m *member) {
	if m.special == 1 && m.total == 1 {
		x.tape = x.tape[:m.object]
		return
	}
	x.close(m.object)
}
