package lexicons

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"unicode/utf8"
)

const (
	// maxDepth is how deep JSON may be nested: methods need four levels, and each costs the decoder memory.
	maxDepth = 32
	// itemsAtOnce are decoded before others may run, in half a millisecond: the scheduler would let a count wait for 10
	// ms behind each long list.
	itemsAtOnce = 256
)

var (
	// ErrNotUTF8 is the error of Read where the input is not UTF-8.
	ErrNotUTF8 = errors.New("not UTF-8")
	// ErrSyntax is its error where the input is not JSON.
	ErrSyntax = errors.New("unexpected end, or an invalid value")
)

// Read reads one JSON value from r and holds it against a schema while it reads, so that no more than the schema
// allows is ever kept: members that the schema does not have are passed over. What it gives is as Check takes it. A
// Problem says what is wrong with the value; any other error is ErrNotUTF8, ErrSyntax or a json.SyntaxError, or the
// one of r.
func (t *Table) Read(r io.Reader, s *Schema) (any, error) {
	text := &textReader{r: r}
	in := &input{t, json.NewDecoder(text)}
	v, err := in.value(s, "", 0)
	if err == nil {
		_, err = in.dec.Token()
		if err == io.EOF {
			return v, text.end()
		}
		if err == nil {
			err = fmt.Errorf("%w: there is text after the value", ErrSyntax)
		}
	}
	var problem *Problem
	var syntax *json.SyntaxError
	switch {
	case text.err != nil:
		return nil, text.err
	case text.end() != nil:
		return nil, ErrNotUTF8
	case errors.As(err, &problem), errors.As(err, &syntax), errors.Is(err, ErrSyntax):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
}

// textReader reads UTF-8, and keeps the error that it ended with.
type textReader struct {
	r    io.Reader
	tail [utf8.UTFMax]byte // the bytes of a character that is not whole yet
	n    int
	err  error // not io.EOF
}

// Read is io.Reader's.
func (t *textReader) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.r.Read(p)
	if !t.check(p[:n]) {
		t.err = ErrNotUTF8
		return 0, t.err
	}
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}

// end is the error of a text that ends inside of a character.
func (t *textReader) end() error {
	if t.err == nil && t.n > 0 {
		t.err = ErrNotUTF8
	}
	return t.err
}

func (t *textReader) check(p []byte) bool {
	for t.n > 0 && len(p) > 0 {
		t.tail[t.n] = p[0]
		t.n++
		p = p[1:]
		if utf8.FullRune(t.tail[:t.n]) {
			if c, size := utf8.DecodeRune(t.tail[:t.n]); c == utf8.RuneError && size <= 1 {
				return false
			}
			t.n = 0
		}
	}
	whole := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if utf8.RuneStart(p[len(p)-back]) {
			if !utf8.FullRune(p[len(p)-back:]) {
				whole = len(p) - back
				t.n = copy(t.tail[:], p[whole:])
			}
			break
		}
	}
	return utf8.Valid(p[:whole])
}

// input is a value that is being read.
type input struct {
	table *Table
	dec   *json.Decoder
}

func (in *input) value(s *Schema, at string, depth int) (any, error) {
	token, err := in.dec.Token()
	if err != nil {
		return nil, err
	}
	return in.rest(token, s, at, depth)
}

// rest reads the value that begins with a token.
func (in *input) rest(token json.Token, s *Schema, at string, depth int) (any, error) {
	s = in.table.Resolve(s)
	if depth > maxDepth {
		return nil, &Problem{at, "is nested too deeply"}
	}
	switch {
	case token == json.Delim('{') && s.Type == "object":
		return in.object(s, at, depth)
	case token == json.Delim('[') && s.Type == "array":
		return in.array(s, at, depth)
	case s.Type == "unknown":
		return nil, in.skip(token, depth)
	}
	if _, isDelim := token.(json.Delim); isDelim {
		// A value of the wrong type is not kept: Check returns the type that it must have.
		token = struct{}{}
	}
	if p := in.table.check(s, token, at, false); p != nil {
		return nil, p
	}
	return token, nil
}

func (in *input) array(s *Schema, at string, depth int) (any, error) {
	items := []any{}
	for in.dec.More() {
		if s.MaxLength > 0 && len(items) == s.MaxLength {
			return nil, &Problem{at, fmt.Sprintf("has too many items: the limit is %d", s.MaxLength)}
		}
		item, err := in.value(s.Items, fmt.Sprintf("%s[%d]", at, len(items)), depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if len(items)%itemsAtOnce == 0 {
			runtime.Gosched()
		}
	}
	_, err := in.dec.Token()
	return items, err
}

func (in *input) object(s *Schema, at string, depth int) (any, error) {
	members := map[string]any{}
	for in.dec.More() {
		key, err := in.dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		token, err := in.dec.Token()
		if err != nil {
			return nil, err
		}
		schema := s.Properties.Get(name)
		switch {
		case schema == nil:
			err = in.skip(token, depth+1)
		case token == nil && slices.Contains(s.Nullable, name):
			members[name] = nil
		default:
			members[name], err = in.rest(token, schema, in.within(at, name), depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := in.dec.Token(); err != nil {
		return nil, err
	}
	for _, name := range s.Required {
		if _, ok := members[name]; !ok {
			return nil, &Problem{in.within(at, name), "is missing: it is required"}
		}
	}
	return members, nil
}

func (in *input) within(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// skip passes over the value that begins with a token.
func (in *input) skip(token json.Token, depth int) error {
	for open := 0; ; {
		switch token {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if open == 0 {
			return nil
		}
		if depth+open > maxDepth {
			return &Problem{"", "is nested too deeply"}
		}
		var err error
		token, err = in.dec.Token()
		if err != nil {
			return err
		}
	}
}
