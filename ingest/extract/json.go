package extract

func (x *Extractor) jsonRecord() error {
	pos := x.jsonSpace(0)
	if pos == len(x.in) || x.in[pos] != '{' {
		return &Malformed{"not an object", pos}
	}
	pos, err := x.jsonObject(pos, 1)
	if err != nil {
		return err
	}
	if pos = x.jsonSpace(pos); pos != len(x.in) {
		return &Malformed{"more than one value", pos}
	}
	return nil
}

// jsonValue reads the value that begins at pos and returns the offset behind it. depth is how deep it nests if it is an
// object or array.
func (x *Extractor) jsonValue(pos, depth int) (int, error) {
	switch c := x.at(pos); {
	case c == '"':
		end, escaped, err := x.jsonString(pos)
		if err == nil {
			x.jsonText(pos+1, end-1, escaped)
		}
		return end, err
	case c != '{' && c != '[':
		return x.jsonScalar(pos)
	case depth > x.limits.MaxDepth:
		x.dropped.Deep++
		return x.jsonSkip(pos)
	case c == '{':
		return x.jsonObject(pos, depth)
	default:
		return x.jsonArray(pos, depth)
	}
}

func (x *Extractor) jsonArray(pos, depth int) (int, error) {
	array := x.open(tokArray)
	pos = x.jsonSpace(pos + 1)
	if x.at(pos) == ']' {
		x.close(array)
		return pos + 1, nil
	}
	for {
		var err error
		if pos, err = x.jsonValue(pos, depth+1); err != nil {
			return 0, err
		}
		pos = x.jsonSpace(pos)
		switch x.at(pos) {
		case ',':
			pos = x.jsonSpace(pos + 1)
		case ']':
			x.close(array)
			return pos + 1, nil
		default:
			return 0, x.jsonUnexpected(pos)
		}
	}
}

func (x *Extractor) jsonObject(pos, depth int) (int, error) {
	m := member{object: x.open(tokObject)}
	pos = x.jsonSpace(pos + 1)
	if x.at(pos) == '}' {
		x.closeObject(&m)
		return pos + 1, nil
	}
	for {
		start := pos + 1
		end, escaped, err := x.jsonString(pos)
		if err != nil {
			return 0, err
		}
		if pos, err = x.jsonColon(end); err != nil {
			return 0, err
		}
		m.total++
		key := x.key(start, end-1, escaped)
		n := nameOf(x.jsonPlain(start, end-1, escaped))
		value, isString := pos, x.at(pos) == '"'
		if n != other && isString {
			end, escaped, err := x.jsonString(value)
			if err != nil {
				return 0, err
			}
			x.stringMember(&m, n, value+1, end-1, escaped)
		}
		if pos, err = x.jsonValue(value, depth+1); err != nil {
			return 0, err
		}
		x.endMember(key)
		pos = x.jsonSpace(pos)
		switch x.at(pos) {
		case ',':
			pos = x.jsonSpace(pos + 1)
		case '}':
			x.closeObject(&m)
			return pos + 1, nil
		default:
			return 0, x.jsonUnexpected(pos)
		}
	}
}

// jsonColon passes the colon between a key that ends at pos and its value, and the space around it.
func (x *Extractor) jsonColon(pos int) (int, error) {
	pos = x.jsonSpace(pos)
	if x.at(pos) != ':' {
		return 0, x.jsonUnexpected(pos)
	}
	return x.jsonSpace(pos + 1), nil
}

// jsonText adds the string between start and end to the tape if it is a link.
func (x *Extractor) jsonText(start, end int, escaped bool) {
	if !escaped {
		x.text(x.in[start:end])
		return
	}
	var ok bool
	if x.scratch, ok = appendUnescaped(x.scratch[:0], x.in[start:end]); !ok {
		x.dropped.BadText++
		return
	}
	x.text(x.scratch)
}

// jsonPlain returns the string between start and end without its escapes; it is valid until the next such call, and not
// UTF-8 if it has half a surrogate pair.
func (x *Extractor) jsonPlain(start, end int, escaped bool) []byte {
	if !escaped {
		return x.in[start:end]
	}
	x.scratch, _ = appendUnescaped(x.scratch[:0], x.in[start:end])
	return x.scratch
}

// jsonSkip returns the offset behind the object or array at pos. It checks all of it like the other functions, but
// notes nothing, and doesn't recurse: nest has one bit for each level, set for an object.
func (x *Extractor) jsonSkip(pos int) (int, error) {
	x.nest = x.nest[:0]
	for depth := 0; ; {
		// At a value.
		var err error
		if c := x.at(pos); c != '{' && c != '[' {
			if pos, err = x.jsonScalar(pos); err != nil {
				return 0, err
			}
		} else {
			bit := uint64(1) << (depth % 64)
			if depth/64 == len(x.nest) {
				x.nest = append(x.nest, 0)
			}
			x.nest[depth/64] &^= bit
			if c == '{' {
				x.nest[depth/64] |= bit
			}
			depth++
			pos = x.jsonSpace(pos + 1)
			if x.at(pos) != c+2 { // '}' is '{' + 2, ']' is '[' + 2
				if c == '{' {
					if pos, err = x.jsonKey(pos); err != nil {
						return 0, err
					}
				}
				continue
			}
			pos++
			depth--
		}
		// Behind a value: up to the next one.
		for more := false; !more; {
			if depth == 0 {
				return pos, nil
			}
			inObject := x.nest[(depth-1)/64]>>((depth-1)%64)&1 == 1
			pos = x.jsonSpace(pos)
			switch c := x.at(pos); {
			case c == ',':
				pos = x.jsonSpace(pos + 1)
				if inObject {
					if pos, err = x.jsonKey(pos); err != nil {
						return 0, err
					}
				}
				more = true
			case c == '}' && inObject, c == ']' && !inObject:
				pos++
				depth--
			default:
				return 0, x.jsonUnexpected(pos)
			}
		}
	}
}

// jsonKey passes a key and its colon.
func (x *Extractor) jsonKey(pos int) (int, error) {
	end, _, err := x.jsonString(pos)
	if err != nil {
		return 0, err
	}
	return x.jsonColon(end)
}
