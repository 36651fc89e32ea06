package extract

import (
	"bytes"
	"unicode/utf8"

	"weft.dev/weft/ingest/jsonscan"
)

// frame is an object or array around the position of the walk.
type frame struct {
	path  int // the length of its path
	state pathState
	array bool
}

// pathState states whether links at a path count.
type pathState uint8

const (
	pathGood pathState = iota
	pathLong
	pathBad // not valid UTF-8, or with a NUL, which some programs that store or show text don't support
)

// walk fills x.links from the tape. It returns false when the links take more than their budget and x.cut isn't set.
func (x *Extractor) walk() bool {
	var (
		top   = frame{}  // the object or array of the position
		state = pathGood // of x.path
		// x.path already ends in the "[]" of top: the next link in the same array has the same path.
		atElement = false
		hash      uint64 // of x.path, if hashed
		hashed    = false
		full      = false // the budget is spent
	)
	x.path = x.path[:0]
	for _, t := range x.tape {
		switch t.kind {
		case tokKey:
			x.path = x.path[:top.path]
			state = top.state
			if state == pathGood {
				state = x.extend('.', t, 0)
			}
			hashed = false
		case tokObject, tokArray:
			if top.array {
				state = x.elementOf(top, t)
				hashed = false
			}
			x.frames = append(x.frames, top)
			top = frame{len(x.path), state, t.kind == tokArray}
			atElement = false
		case tokClose:
			top = x.frames[len(x.frames)-1]
			x.frames = x.frames[:len(x.frames)-1]
			atElement = false
		case tokLink:
			if top.array && !atElement {
				state = x.elementOf(top, t)
				atElement = true
				hashed = false
			}
			if state != pathGood {
				x.countBad(state)
				continue
			}
			if !hashed {
				hash = x.byPath.hash(x.path)
				hashed = true
			}
			if full || !x.add(hash, x.path[1:], x.targets[t.start:t.end]) {
				if !x.cut {
					return false
				}
				full = true
				x.dropped.Links++
			}
		}
	}
	return true
}

// countBad counts a link whose path isn't good.
func (x *Extractor) countBad(state pathState) {
	if state == pathLong {
		x.dropped.LongPath++
	} else {
		x.dropped.BadPath++
	}
}

// elementOf sets the path to that of an element of an array.
func (x *Extractor) elementOf(array frame, t token) pathState {
	x.path = x.path[:array.path]
	if array.state != pathGood {
		return array.state
	}
	return x.element(t)
}

// element extends the path by an element of an array: "[$type]" if the element is an object with a $type, otherwise
// "[]".
func (x *Extractor) element(t token) pathState {
	if t.kind == tokObject {
		return x.extend('[', t, ']') // with no text where there is no $type
	}
	return x.extend('[', token{}, ']')
}

// extend appends to the path the byte before, the text of t (a key or a $type), and the byte after unless it is 0.
func (x *Extractor) extend(before byte, t token, after byte) pathState {
	x.path = append(x.path, before)
	from := len(x.path)
	ok := true
	if text := x.in[t.start:t.end]; t.escaped {
		x.path, ok = jsonscan.AppendUnescaped(x.path, text)
	} else {
		x.path = append(x.path, text...)
	}
	if text := x.path[from:]; !ok || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return pathBad
	}
	if after != 0 {
		x.path = append(x.path, after)
	}
	if len(x.path)-1 > x.limits.MaxPath {
		return pathLong
	}
	return pathGood
}

// add adds a link unless the record has it already. It returns false if the link would exceed the budget. pathHash is
// the hash of the path with its dot.
func (x *Extractor) add(pathHash uint64, path, target []byte) bool {
	n, pathSlot := x.byPath.find(pathHash, func(i int) bool { return bytes.Equal(x.paths[i], path) })
	hash := x.byLink.join(pathHash, target)
	cost := linkCost + len(target)
	if n >= 0 {
		path = x.paths[n]
	} else {
		cost += linkCost + len(path)
	}
	known, linkSlot := x.byLink.find(hash, func(i int) bool {
		return bytes.Equal(x.links[i].Target, target) && bytes.Equal(x.links[i].Path, path)
	})
	if known >= 0 {
		return true
	}
	if x.spent+cost > x.limits.MaxBytes {
		return false
	}
	x.spent += cost
	if n < 0 {
		from := len(x.pathText)
		x.pathText = append(x.pathText, path...)
		path = x.pathText[from:len(x.pathText):len(x.pathText)]
		x.paths = append(x.paths, path)
		x.byPath.add(pathHash, pathSlot)
	}
	x.links = append(x.links, Link{path, target})
	x.byLink.add(hash, linkSlot)
	return true
}
