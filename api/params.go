package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/origin"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/link"
)

const (
	// maxCollection is the longest NSID that atproto allows, in bytes.
	maxCollection = 317
	// maxPath is the longest path in bytes, without its leading dot. It is twice the extractor's limit, so that every
	// path in an index can be queried.
	maxPath = 1024
	// maxFilter is the most entries of from_dids and of did.
	maxFilter = 10_000
)

// params is a query string and the lexicon of its route. It keeps the first fault in err, so that a handler reads all
// parameters and then checks once. After a fault, the values mean nothing.
type params struct {
	route *routes.Route
	def   *lexicons.Def // of the route
	query []param       // in their order
	// given has decoded values, from a message.
	given   map[string][]string
	input   map[string]any // body of a procedure, checked by its definition
	request *http.Request  // nil: of a stream
	// accounts has the DIDs of handles in the subject; "" for a handle that was not found.
	accounts map[string]string
	// linked reports whether any record links to a subject.
	linked func(subject string) bool
	// pause releases the query's slot in the semaphore, and waits in line for another one; nil: the query is short.
	pause func() error
	walk  int64 // the most that the query may read of a list, as db.ListQuery.Walk
	err   error
}

// param is a parameter of a query string. Its value is decoded when it is read: an ignored parameter may be malformed.
type param struct {
	name    string
	raw     string // the value, encoded
	decoded bool
	value   string
	fault   string // of the value; empty: none
}

// decode returns the value.
func (v *param) decode() string {
	if v.decoded {
		return v.value
	}
	v.decoded = true
	var err error
	v.value, err = url.QueryUnescape(v.raw)
	switch {
	case err != nil:
		v.fault = "contains an invalid percent escape: write a literal % as %25"
	case !utf8.ValidString(v.value):
		v.fault = "is not UTF-8: encode it as UTF-8 before percent-encoding it"
	case strings.IndexByte(v.value, 0) >= 0:
		v.fault = faultNUL
	}
	return v.value
}

const faultNUL = "contains a NUL character: remove it"

// parseQuery splits a query string. It reports values that it cannot decode. url.ParseQuery drops them, which would
// answer another query. A semicolon is a character like any other.
func parseQuery(route *routes.Route, query string) *params {
	p := &params{route: route, def: definitions.At(route.Path), query: make([]param, 0, 1+strings.Count(query, "&"))}
	for more := query != ""; more; {
		var pair string
		pair, query, more = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			p.fail(clip(rawName), "is not a parameter name: it contains an invalid percent escape")
			continue
		}
		p.query = append(p.query, param{name: name, raw: rawValue})
	}
	return p
}

func (p *params) fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = invalid(name, format, args...)
	}
}

// origin returns the public URL of this server: https://weft.example.
func (p *params) origin() string { return origin.Of(p.request) }

// times returns how often a parameter is in the query string.
func (p *params) times(name string) (n int) {
	for i := range p.query {
		if p.query[i].name == name {
			n++
		}
	}
	return n
}

// each calls use for each value of a parameter, decoded.
func (p *params) each(name string, use func(v string)) {
	for _, v := range p.given[name] {
		if strings.IndexByte(v, 0) >= 0 {
			p.fail(name, faultNUL)
		}
		use(v)
	}
	for i := range p.query {
		v := &p.query[i]
		if v.name != name {
			continue
		}
		value := v.decode()
		if v.fault != "" {
			p.fail(name, "%s", v.fault)
		}
		use(value)
	}
}

// values returns all values of a parameter, decoded.
func (p *params) values(name string) (values []string) {
	p.each(name, func(v string) { values = append(values, v) })
	return values
}

// schema returns the lexicon of a parameter. It panics if there is none: a parameter without one cannot be read.
func (p *params) schema(name string) *lexicons.Schema {
	if s := p.def.Param(name); s != nil {
		return s
	}
	panic("api: " + p.def.Path + " reads a parameter that it doesn't define: " + name)
}

// text returns the value of a non-repeatable parameter, and whether it is present. An empty value is an error: most
// likely a variable of the client was not set.
func (p *params) text(name string) (string, bool) {
	schema := p.schema(name)
	first := ""
	times := 0
	p.each(name, func(v string) {
		if times == 0 {
			first = v
		}
		times++
	})
	switch {
	case times == 0 && p.def.Requires(name):
		p.fail(name, "is missing: it is required")
		fallthrough
	case times == 0:
		return "", false
	case times > 1:
		p.fail(name, "appears %d times: send it once", times)
	case first == "" && p.def.Requires(name):
		p.fail(name, "is empty: it is required")
	case first == "":
		p.fail(name, "is empty: give it a value or omit it")
	case schema.MaxLength > 0 && len(first) > schema.MaxLength:
		p.fail(name, "is too long: the limit is %d bytes", schema.MaxLength)
	}
	return first, true
}

// checked returns v, which must have 1 to max bytes and no control characters. what names v within the parameter.
func (p *params) checked(name, what, v string, max int) string {
	switch {
	case v == "":
		p.fail(name, "has an empty %s: give it a value", what)
	case len(v) > max:
		p.fail(name, "has a %s that is too long: the limit is %d bytes", what, max)
	case strings.ContainsFunc(v, unicode.IsControl):
		p.fail(name, "has a %s that contains a control character: remove it", what)
	}
	return v
}

// number returns a whole number within the bounds of the lexicon, or its default.
func (p *params) number(name string) int {
	schema := p.schema(name)
	v, ok := p.text(name)
	if !ok {
		n, _ := schema.Default.(float64)
		return int(n)
	}
	// Only digits: Atoi takes a sign. A number that is too long is too large anyway.
	digits := !strings.ContainsFunc(v, func(c rune) bool { return c < '0' || c > '9' })
	n, err := strconv.Atoi(v)
	if !digits || err != nil || int64(n) < *schema.Minimum || int64(n) > *schema.Maximum {
		p.fail(name, "must be a whole number from %d to %d", *schema.Minimum, *schema.Maximum)
	}
	return n
}

// limit returns the largest number of items on a page.
func (p *params) limit() int { return p.number("limit") }

// flag returns whether a parameter that defaults to false is true.
func (p *params) flag(name string) bool {
	v, ok := p.text(name)
	if ok && v != "true" && v != "false" {
		p.fail(name, "must be true or false")
	}
	return v == "true"
}

// namesAtOnce is the number of names that are checked between two yields to other goroutines: half a millisecond.
const namesAtOnce = 256

// filter returns the set of entries of a parameter, at most most: sorted, without duplicates, each normalised by norm.
// It drops blank entries, and returns nil, no filter, if none is left. An entry that norm refuses is an error, because
// dropping it might turn the filter off.
func (p *params) filter(name string, entries []string, most int, is string, norm func(string) (string, bool)) []string {
	var set []string
	for _, entry := range entries {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		v, ok := norm(entry)
		if !ok {
			p.fail(name, "must be %s, or omitted", is)
		}
		set = append(set, v)
		if len(set)%namesAtOnce == 0 {
			runtime.Gosched()
		}
	}
	slices.Sort(set)
	set = slices.Compact(set)
	if len(set) > most {
		p.fail(name, "has %d different values: the limit is %d", len(set), most)
	}
	return set
}

// list returns the values of a repeatable parameter in their order; nil if it is not given.
func (p *params) list(name string) []string {
	schema := p.schema(name)
	values := p.values(name)
	if len(values) == 0 && p.def.Requires(name) {
		p.fail(name, "is missing: it is required")
	}
	if len(values) > schema.MaxLength {
		p.fail(name, "appears %d times: the limit is %d", len(values), schema.MaxLength)
	}
	for _, v := range values {
		switch {
		case v == "":
			p.fail(name, "is empty: give it a value or omit it")
		case schema.Items.MaxLength > 0 && len(v) > schema.Items.MaxLength:
			p.fail(name, "is too long: the limit is %d bytes", schema.Items.MaxLength)
		}
	}
	return values
}

// time returns a time in microseconds since 1970, rounded up, and 0 if it is not given.
func (p *params) time(name string) int64 {
	v, ok := p.text(name)
	if !ok {
		return 0
	}
	t, err := time.Parse(time.RFC3339, v)
	us := t.Add(time.Microsecond - 1).UnixMicro()
	if err != nil || us <= 0 {
		p.fail(name, "must be a time after 1970, such as 2026-07-01T12:00:00Z; write a plus sign as %%2B")
	}
	return us
}

// did returns one account.
func (p *params) did(name string) string {
	v, ok := p.text(name)
	if ok && !link.ValidDID(v) {
		p.fail(name, "must be a DID")
	}
	return v
}

// read reads the body of a procedure by its lexicon. An error names the first invalid member.
func (p *params) read(body io.Reader) {
	v, err := definitions.Read(body, p.def.Input.Schema)
	var large *http.MaxBytesError
	var problem *lexicons.Problem
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		p.input, _ = v.(map[string]any)
	case errors.As(err, &large):
		p.err = errBodyTooLarge
	case errors.Is(err, lexicons.ErrNotUTF8):
		p.fail("body", "is not UTF-8")
	case errors.As(err, &problem):
		p.fail(cmp.Or(problem.Path, "body"), "%s", problem.Text)
	case errors.As(err, &syntax), errors.Is(err, lexicons.ErrSyntax):
		p.fail("body", "is not JSON: %v", err)
	default:
		p.err = errBodyBrokeOff
	}
}

// texts returns a list of strings in the input; nil if it is absent.
func (p *params) texts(name string) []string {
	list, ok := p.input[name].([]any)
	if !ok {
		return nil
	}
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i], _ = v.(string)
	}
	return texts
}
