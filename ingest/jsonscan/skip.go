package jsonscan

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

// Skip returns the offset after the value at pos. It checks the syntax, and doesn't recurse: only memory limits the
// depth of objects and arrays.
func (s *Scanner) Skip(pos int) (int, error) {
	s.nest.depth = 0
	for {
		var err error
		pos, err = s.skipDown(pos)
		if err != nil {
			return 0, err
		}
		pos, err = s.skipUp(pos)
		if err != nil || s.nest.depth == 0 {
			return pos, err
		}
	}
}

// skipDown reads the starts of objects and arrays from pos on, and then a scalar or an empty object or array.
func (s *Scanner) skipDown(pos int) (int, error) {
	for {
		c := s.At(pos)
		if c != '{' && c != '[' {
			return s.Scalar(pos)
		}
		pos = s.Space(pos + 1)
		if s.At(pos) == c+2 { // '}' is '{' + 2, ']' is '[' + 2
			return pos + 1, nil
		}
		s.nest.push(c == '{')
		if c == '{' {
			var err error
			pos, err = s.key(pos)
			if err != nil {
				return 0, err
			}
		}
	}
}

// skipUp reads the ends of objects and arrays from pos on, up to the next value. Without a next value the depth is
// 0.
func (s *Scanner) skipUp(pos int) (int, error) {
	for s.nest.depth > 0 {
		inObject := s.nest.inObject()
		pos = s.Space(pos)
		switch c := s.At(pos); {
		case c == '}' && inObject, c == ']' && !inObject:
			pos++
			s.nest.pop()
		case c == ',' && inObject:
			return s.key(s.Space(pos + 1))
		case c == ',':
			return s.Space(pos + 1), nil
		default:
			return 0, s.Unexpected(pos)
		}
	}
	return pos, nil
}

// key reads a key and its colon.
func (s *Scanner) key(pos int) (int, error) {
	end, _, err := s.String(pos)
	if err != nil {
		return 0, err
	}
	return s.Colon(end)
}

// Colon reads the colon between a key that ends at pos and its value, and the space around it.
func (s *Scanner) Colon(pos int) (int, error) {
	pos = s.Space(pos)
	if s.At(pos) != ':' {
		return 0, s.Unexpected(pos)
	}
	return s.Space(pos + 1), nil
}

// Object reads the object at pos. It calls member for each member, with the key and the offset of the value; member
// returns the offset after the value. The key is valid during the call. It isn't valid UTF-8 if it has half a surrogate
// pair.
func (s *Scanner) Object(pos int, member func(key []byte, pos int) (end int, err error)) (end int, err error) {
	if s.At(pos) != '{' {
		return 0, s.Unexpected(pos)
	}
	pos = s.Space(pos + 1)
	if s.At(pos) == '}' {
		return pos + 1, nil
	}
	for {
		end, escaped, err := s.String(pos)
		if err != nil {
			return 0, err
		}
		key := s.Text[pos+1 : end-1]
		if escaped {
			key, _ = AppendUnescaped(nil, key)
		}
		pos, err = s.Colon(end)
		if err != nil {
			return 0, err
		}
		pos, err = member(key, pos)
		if err != nil {
			return 0, err
		}
		pos = s.Space(pos)
		switch s.At(pos) {
		case ',':
			pos = s.Space(pos + 1)
		case '}':
			return pos + 1, nil
		default:
			return 0, s.Unexpected(pos)
		}
	}
}
