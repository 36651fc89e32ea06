package lexicons

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"weft.dev/weft/link"
)

// Problem is a fault of a value and its path, such as pairs[3].subject; the path is empty for the value itself.
type Problem struct {
	Path string
	Text string // a phrase that follows the path
}

func (p *Problem) Error() string { return "`" + p.Path + "` " + p.Text }

// Check compares a value, as decoded by json.Unmarshal into an any, with a schema. It accepts unknown members, as
// lexicons do, unless strict is set: our own answers have no undocumented members.
func (t *Table) Check(s *Schema, v any, strict bool) *Problem { return t.check(s, v, "", strict) }

func (t *Table) check(s *Schema, v any, at string, strict bool) *Problem {
	s = t.Resolve(s)
	wrong := func(format string, args ...any) *Problem { return &Problem{at, fmt.Sprintf(format, args...)} }
	switch s.Type {
	case "unknown":
	case "object":
		members, ok := v.(map[string]any)
		if !ok {
			return wrong("must be an object")
		}
		return t.checkMembers(s, members, at, strict)
	case "array":
		items, ok := v.([]any)
		if !ok {
			return wrong("must be an array")
		}
		if s.MaxLength > 0 && len(items) > s.MaxLength {
			return wrong("has %d items: the limit is %d", len(items), s.MaxLength)
		}
		for i, item := range items {
			if p := t.check(s.Items, item, fmt.Sprintf("%s[%d]", at, i), strict); p != nil {
				return p
			}
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong("must be true or false")
		}
	case "integer":
		n, ok := integer(v)
		if !ok {
			return wrong("must be a whole number")
		}
		if s.Minimum != nil && n < *s.Minimum || s.Maximum != nil && n > *s.Maximum {
			return wrong("is out of range")
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			return wrong("must be a string")
		}
		return s.checkText(text, at)
	default:
		return wrong("has the unknown type %q", s.Type)
	}
	return nil
}

func (t *Table) checkMembers(s *Schema, members map[string]any, at string, strict bool) *Problem {
	within := func(name string) string {
		if at == "" {
			return name
		}
		return at + "." + name
	}
	for _, name := range s.Required {
		if _, ok := members[name]; !ok {
			return &Problem{within(name), "is missing: it is required"}
		}
	}
	for _, p := range s.Properties {
		v, ok := members[p.Name]
		if !ok || v == nil && slices.Contains(s.Nullable, p.Name) {
			continue
		}
		if problem := t.check(&p.Schema, v, within(p.Name), strict); problem != nil {
			return problem
		}
	}
	for name, v := range members {
		if s.Properties.Get(name) != nil {
			continue
		}
		if s.Values != nil {
			if problem := t.check(s.Values, v, within(name), strict); problem != nil {
				return problem
			}
		} else if strict {
			return &Problem{within(name), "is not a known name"}
		}
	}
	return nil
}

func (s *Schema) checkText(text, at string) *Problem {
	switch {
	case !utf8.ValidString(text):
		return &Problem{at, "is not UTF-8"}
	case s.MaxLength > 0 && len(text) > s.MaxLength:
		return &Problem{at, fmt.Sprintf("is too long: the limit is %d bytes", s.MaxLength)}
	case s.Enum != nil && !slices.Contains(s.Enum, text):
		return &Problem{at, fmt.Sprintf("must be one of %q", s.Enum)}
	}
	if what := WrongFormat(s.Format, text); what != "" {
		return &Problem{at, what}
	}
	return nil
}

// WrongFormat returns the fault of a text in a format, as a phrase that follows its name; empty if there is none.
func WrongFormat(format, text string) string {
	ok := true
	what := ""
	switch format {
	case "did":
		ok = link.ValidDID(text)
		what = "must be a DID"
	case "nsid":
		ok = link.ValidNSID(text)
		what = "must be an NSID"
	case "record-key":
		ok = link.ValidRecordKey(text)
		what = "must be a record key"
	case "uri":
		_, kind := link.Parse(text)
		ok = kind != link.None
		what = "is not a link: it must be an at-uri, a DID or an absolute URI of at most 8 KiB"
	case "datetime":
		_, err := time.Parse(time.RFC3339, text)
		ok = err == nil
		what = "must be a time such as 2026-07-01T12:00:00Z"
	}
	if ok {
		return ""
	}
	return what
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case float64:
		return int64(v), v == float64(int64(v))
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}
