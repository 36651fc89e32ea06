package extract

import (
	"bytes"
	"slices"

	"weft.dev/weft/ingest/jsonscan"
)

// canonical returns the tape with the members of each object sorted by key, byte by byte. JSON and CBOR have the
// members of one record in different orders, and the links beyond a budget must be the same for both. It takes time in
// proportion to the tape, and a sort for each object.
func (x *Extractor) canonical() []token {
	c := canonical{x: x, ends: ends(x.tape), out: make([]token, 0, len(x.tape))}
	for pos := 0; pos < len(x.tape); {
		pos = c.value(pos)
	}
	return c.out
}

type canonical struct {
	x       *Extractor
	ends    []uint32 // of each object and array on the tape, the index of its tokClose
	out     []token
	members []sortedMember // of the current object, after those of the objects around it
}

// sortedMember is a member of an object: its key, and the index of its tokKey on the tape.
type sortedMember struct {
	key []byte
	pos int
}

// ends returns the index of the tokClose of each object and array of a tape.
func ends(tape []token) []uint32 {
	out := make([]uint32, len(tape))
	var open []int
	for i, t := range tape {
		switch t.kind {
		case tokObject, tokArray:
			open = append(open, i)
		case tokClose:
			out[open[len(open)-1]] = uint32(i)
			open = open[:len(open)-1]
		}
	}
	return out
}

// after returns the index after the value at pos.
func (c *canonical) after(pos int) int {
	if c.x.tape[pos].kind == tokLink {
		return pos + 1
	}
	return int(c.ends[pos]) + 1
}

// value appends the value at pos, and returns the index after it. It recurses as deep as the record nests.
func (c *canonical) value(pos int) int {
	t := c.x.tape[pos]
	c.out = append(c.out, t)
	if t.kind == tokLink {
		return pos + 1
	}
	end := int(c.ends[pos])
	pos++
	if t.kind == tokArray {
		for pos < end {
			pos = c.value(pos)
		}
	} else {
		first := len(c.members)
		for pos < end {
			c.members = append(c.members, sortedMember{c.x.plain(c.x.tape[pos]), pos})
			pos = c.after(pos + 1)
		}
		slices.SortStableFunc(c.members[first:], func(a, b sortedMember) int { return bytes.Compare(a.key, b.key) })
		for i := first; i < len(c.members); i++ {
			at := c.members[i].pos
			c.out = append(c.out, c.x.tape[at])
			c.value(at + 1)
		}
		c.members = c.members[:first]
	}
	c.out = append(c.out, c.x.tape[end])
	return end + 1
}

// plain returns the text of a token without its escapes. It copies a text with escapes.
func (x *Extractor) plain(t token) []byte {
	text := x.in[t.start:t.end]
	if t.escaped {
		text, _ = jsonscan.AppendUnescaped(nil, text)
	}
	return text
}
