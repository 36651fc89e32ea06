package extract

import "weft.dev/weft/ingest/jsonscan"

func (x *Extractor) jsonRecord() error {
	pos := x.json.Space(0)
	if pos == len(x.in) || x.in[pos] != '{' {
		return &Malformed{"not an object", pos}
	}
	pos, err := x.jsonObject(pos, 1)
	if err != nil {
		return err
	}
	pos = x.json.Space(pos)
	if pos != len(x.in) {
		return &Malformed{"more than one value", pos}
	}
	return nil
}

// jsonValue reads the value at pos, and returns the offset after it. depth is its nesting if it is an object or an
// array.
func (x *Extractor) jsonValue(pos, depth int) (int, error) {
	switch c := x.json.At(pos); {
	case c == '"':
		end, escaped, err := x.json.String(pos)
		if err == nil {
			x.jsonText(pos+1, end-1, escaped)
		}
		return end, err
	case c != '{' && c != '[':
		return x.json.Scalar(pos)
	case depth > x.limits.MaxDepth:
		x.dropped.Deep++
		return x.json.Skip(pos)
	case c == '{':
		return x.jsonObject(pos, depth)
	default:
		return x.jsonArray(pos, depth)
	}
}

func (x *Extractor) jsonArray(pos, depth int) (int, error) {
	array := x.open(tokArray)
	pos = x.json.Space(pos + 1)
	if x.json.At(pos) == ']' {
		x.close(array)
		return pos + 1, nil
	}
	for {
		var err error
		pos, err = x.jsonValue(pos, depth+1)
		if err != nil {
			return 0, err
		}
		pos = x.json.Space(pos)
		switch x.json.At(pos) {
		case ',':
			pos = x.json.Space(pos + 1)
		case ']':
			x.close(array)
			return pos + 1, nil
		default:
			return 0, x.json.Unexpected(pos)
		}
	}
}

func (x *Extractor) jsonObject(pos, depth int) (int, error) {
	m := member{object: x.open(tokObject)}
	pos = x.json.Space(pos + 1)
	if x.json.At(pos) == '}' {
		x.closeObject(&m)
		return pos + 1, nil
	}
	for {
		start := pos + 1
		end, escaped, err := x.json.String(pos)
		if err != nil {
			return 0, err
		}
		pos, err = x.json.Colon(end)
		if err != nil {
			return 0, err
		}
		m.total++
		key := x.key(start, end-1, escaped)
		n := nameOf(x.jsonPlain(start, end-1, escaped))
		if n != other && x.json.At(pos) == '"' {
			end, escaped, err := x.json.String(pos)
			if err != nil {
				return 0, err
			}
			x.stringMember(&m, n, pos+1, end-1, escaped)
		}
		pos, err = x.jsonValue(pos, depth+1)
		if err != nil {
			return 0, err
		}
		x.endMember(key)
		pos = x.json.Space(pos)
		switch x.json.At(pos) {
		case ',':
			pos = x.json.Space(pos + 1)
		case '}':
			x.closeObject(&m)
			return pos + 1, nil
		default:
			return 0, x.json.Unexpected(pos)
		}
	}
}

// jsonText adds the string between start and end to the tape if it is a link.
func (x *Extractor) jsonText(start, end int, escaped bool) {
	if !escaped {
		x.text(x.in[start:end])
		return
	}
	var ok bool
	x.scratch, ok = jsonscan.AppendUnescaped(x.scratch[:0], x.in[start:end])
	if !ok {
		x.dropped.BadText++
		return
	}
	x.text(x.scratch)
}

// jsonPlain returns the string between start and end without its escapes; it is valid until the next call of jsonPlain.
// It isn't valid UTF-8 if it has half a surrogate pair.
func (x *Extractor) jsonPlain(start, end int, escaped bool) []byte {
	if !escaped {
		return x.in[start:end]
	}
	x.scratch, _ = jsonscan.AppendUnescaped(x.scratch[:0], x.in[start:end])
	return x.scratch
}
