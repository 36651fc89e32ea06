package extract

// nesting is a stack with a bit for each object or array around a position; the bit of an object is set.
type nesting struct {
	bits  []uint64
	depth int
}

func (n *nesting) push(isObject bool) {
	word := n.depth / 64
	bit := uint64(1) << (n.depth % 64)
	if word == len(n.bits) {
		n.bits = append(n.bits, 0)
	}
	n.bits[word] &^= bit
	if isObject {
		n.bits[word] |= bit
	}
	n.depth++
}

func (n *nesting) pop() { n.depth-- }

// inObject reports whether the innermost level is an object. There must be one.
func (n *nesting) inObject() bool { return n.bits[(n.depth-1)/64]>>((n.depth-1)%64)&1 == 1 }

// jsonSkip returns the offset after the object or array at pos. It checks the syntax like the other functions, but adds
// nothing to the tape and doesn't recurse: only memory limits its depth.
func (x *Extractor) jsonSkip(pos int) (int, error) {
	x.nest.depth = 0
	for {
		var err error
		pos, err = x.jsonSkipDown(pos)
		if err != nil {
			return 0, err
		}
		pos, err = x.jsonSkipUp(pos)
		if err != nil || x.nest.depth == 0 {
			return pos, err
		}
	}
}

// jsonSkipDown reads the starts of objects and arrays from pos on, and then a scalar or an empty object or array.
func (x *Extractor) jsonSkipDown(pos int) (int, error) {
	for {
		c := x.at(pos)
		if c != '{' && c != '[' {
			return x.jsonScalar(pos)
		}
		pos = x.jsonSpace(pos + 1)
		if x.at(pos) == c+2 { // '}' is '{' + 2, ']' is '[' + 2
			return pos + 1, nil
		}
		x.nest.push(c == '{')
		if c == '{' {
			var err error
			pos, err = x.jsonKey(pos)
			if err != nil {
				return 0, err
			}
		}
	}
}

// jsonSkipUp reads the ends of objects and arrays from pos on, up to the next value. Without a next value the depth is
// 0.
func (x *Extractor) jsonSkipUp(pos int) (int, error) {
	for x.nest.depth > 0 {
		inObject := x.nest.inObject()
		pos = x.jsonSpace(pos)
		switch c := x.at(pos); {
		case c == '}' && inObject, c == ']' && !inObject:
			pos++
			x.nest.pop()
		case c == ',' && inObject:
			return x.jsonKey(x.jsonSpace(pos + 1))
		case c == ',':
			return x.jsonSpace(pos + 1), nil
		default:
			return 0, x.jsonUnexpected(pos)
		}
	}
	return pos, nil
}

// jsonKey reads a key and its colon.
func (x *Extractor) jsonKey(pos int) (int, error) {
	end, _, err := x.jsonString(pos)
	if err != nil {
		return 0, err
	}
	return x.jsonColon(end)
}
