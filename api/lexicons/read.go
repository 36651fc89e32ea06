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
	// maxDepth is the deepest nesting of JSON that Read accepts: methods need four levels, and each level costs memory.
	maxDepth = 32
	// itemsAtOnce is the number of items, half a millisecond of work, between two yields to other goroutines. Without
	// yields, a short query waits 10 ms for the scheduler behind each long list.
	itemsAtOnce = 256
)

var (
	// ErrNotUTF8 is returned by Read if the input is not UTF-8.
	ErrNotUTF8 = errors.New("not UTF-8")
	// ErrSyntax is returned by Read if the input is not JSON.
	ErrSyntax = errors.New("unexpected end, or an invalid value")
)

// Read reads one JSON value from r and checks it against a schema on the way, so that memory is bounded by the schema:
// it skips unknown members. Its result has the types that Check accepts. A Problem describes a fault of the value; any
// other error is ErrNotUTF8, ErrSyntax, a json.SyntaxError or an error of r.
func (t *Table) Read(r io.Reader, s *Schema) (any, error) {
	text := &textReader{r: r}
	in := &input{t, json.NewDecoder(text)}
	v, err := in.value(s, "", 0)
	if err == nil {
		_, err = in.dec.Token()
		if errors.Is(err, io.EOF) {
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

// textReader reads UTF-8 and keeps its last error.
type textReader struct {
	r    io.Reader
	tail [utf8.UTFMax]byte // bytes of an incomplete character
	n    int
	err  error // except io.EOF
}

// Read implements io.Reader.
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

// end returns the error of a text that ends inside a character.
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

// input is a value during Read.
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

// rest reads the rest of the value that begins with a token.
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
		// A value of the wrong type is dropped: Check reports the type that it must have.
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

// skip skips the rest of the value that begins with a token.
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
