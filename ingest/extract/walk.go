package extract

import (
	"bytes"
	"unicode/utf8"
)

// frame is an object or array that the walk is in.
type frame struct {
	path  int // the length of its path
	state pathState
	array bool
}

// pathState says whether the links at a path count.
type pathState uint8

const (
	pathGood pathState = iota
	pathLong
	pathBad // not valid UTF-8, or a NUL, which not all that stores and shows text can bear
)

// walk fills x.links from the tape.
func (x *Extractor) walk() {
	var (
		top   = frame{}  // the object or array that the walk is in
		state = pathGood // of x.path
		// Whether x.path ends in the "[]" of top already: the next link in the same array has the same path.
		atElement = false
		hash      uint64 // of x.path, if hashed
		hashed    = false
	)
	x.path = x.path[:0]
	for _, t := range x.tape {
		switch t.kind {
		case tokKey:
			x.path, state = x.path[:top.path], top.state
			if state == pathGood {
				state = x.extend('.', t, 0)
			}
			hashed = false
		case tokObject, tokArray:
			if top.array {
				x.path, state = x.path[:top.path], top.state
				if state == pathGood {
					state = x.element(t)
				}
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
				x.path, state = x.path[:top.path], top.state
				if state == pathGood {
					state = x.element(t)
				}
				atElement, hashed = true, false
			}
			switch state {
			case pathLong:
				x.dropped.LongPath++
				continue
			case pathBad:
				x.dropped.BadPath++
				continue
			}
			if !hashed {
				hash, hashed = x.set.hash(x.path), true
			}
			x.add(hash, x.path[1:], x.targets[t.start:t.end])
		}
	}
}

// element extends the path by an element of an array: "[$type]" if it is an object that has one, else "[]".
func (x *Extractor) element(t token) pathState {
	length := len(x.path)
	if t.kind == tokObject && t.start < t.end {
		if state := x.extend('[', t, ']'); state != pathBad {
			return state
		}
		x.path = x.path[:length] // an unusable $type is none
	}
	return x.extend('[', token{}, ']')
}

// extend appends to the path the byte before, the text of t (a key or a $type), and the byte after, if not 0.
func (x *Extractor) extend(before byte, t token, after byte) pathState {
	x.path = append(x.path, before)
	from, ok := len(x.path), true
	if text := x.in[t.start:t.end]; t.escaped {
		x.path, ok = appendUnescaped(x.path, text)
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

// add adds a link unless the record has it already or has too many. pathHash is the set's hash of path with its dot.
func (x *Extractor) add(pathHash uint64, path, target []byte) {
	hash := x.set.join(pathHash, target)
	slot := x.set.find(hash, x.links, path, target)
	if slot == known {
		return
	}
	if len(x.links) == x.limits.MaxLinks {
		x.dropped.Links++
		return
	}
	from := len(x.paths)
	if n := len(x.links); n > 0 && bytes.Equal(x.links[n-1].Path, path) {
		path = x.links[n-1].Path // elements of an array, as a rule
	} else {
		x.paths = append(x.paths, path...)
		path = x.paths[from:len(x.paths):len(x.paths)]
	}
	x.links = append(x.links, Link{path, target})
	x.set.add(hash, slot)
}
