package web

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/humanize"
)

// This file describes schemas: in words, in Go and in TypeScript.

// member is a member of an object, with its own members.
type member struct {
	Name, Type, Description string
	Optional, Nullable      bool
	Members                 []member
}

// membersOf lists the members of an object.
func membersOf(s *lexicons.Schema) []member {
	s = definitions.Resolve(s)
	var all []member
	for _, p := range s.Properties {
		m := member{Name: p.Name, Type: typeText(&p.Schema), Description: p.Description,
			Optional: !slices.Contains(s.Required, p.Name), Nullable: slices.Contains(s.Nullable, p.Name)}
		inner := definitions.Resolve(&p.Schema)
		if inner.Type == "array" {
			inner = definitions.Resolve(inner.Items)
		}
		m.Members = membersOf(inner)
		if inner.Values != nil {
			m.Type = typeText(inner)
		}
		all = append(all, m)
	}
	return all
}

// typeText describes a type in words.
func typeText(s *lexicons.Schema) string {
	s = definitions.Resolve(s)
	switch s.Type {
	case "array":
		text := "list of " + plural(typeText(s.Items))
		if s.MaxLength > 0 {
			text += ", at most " + humanize.Number(int64(s.MaxLength))
		}
		return text
	case "object":
		if s.Values != nil {
			return "object of " + plural(typeText(s.Values))
		}
	case "unknown":
		return "object"
	case "boolean":
		return "true or false"
	case "integer":
		if s.Minimum == nil || s.Maximum == nil {
			return "number"
		}
		text := "number, " + humanize.Number(*s.Minimum) + " to " + humanize.Number(*s.Maximum)
		if s.Default != nil {
			d, _ := json.Marshal(s.Default) // a number
			text += ", default " + string(d)
		}
		return text
	case "string":
		switch {
		case s.Enum != nil:
			return strings.Join(s.Enum, " or ")
		case s.Format == "uri":
			return "URI"
		case s.Format == "did", s.Format == "nsid":
			return strings.ToUpper(s.Format)
		case s.Format == "datetime":
			return "time"
		case s.Format == "record-key":
			return "record key"
		}
		return "text"
	}
	return s.Type
}

// plural returns the plural of a word of typeText.
func plural(word string) string {
	switch {
	case strings.HasSuffix(word, "text"), strings.Contains(word, " or "):
		return word
	case strings.Contains(word, ","):
		return word
	}
	return word + "s"
}

// goType returns a type in Go.
func goType(s *lexicons.Schema, nullable bool) string {
	s = definitions.Resolve(s)
	star := ""
	if nullable {
		star = "*"
	}
	switch s.Type {
	case "array":
		return "[]" + goType(s.Items, false)
	case "object":
		if s.Values != nil {
			return "map[string]" + goType(s.Values, false)
		}
		var b strings.Builder
		b.WriteString(star + "struct {\n")
		for _, p := range s.Properties {
			b.WriteString(goName(p.Name) + " " + goType(&p.Schema, slices.Contains(s.Nullable, p.Name)) + " `json:" +
				strconv.Quote(p.Name) + "`\n")
		}
		b.WriteString("}")
		return b.String()
	case "integer":
		return star + "int64"
	case "boolean":
		return star + "bool"
	case "string":
		return star + "string"
	}
	return "json.RawMessage"
}

// goName returns a member's name in Go.
func goName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		switch word {
		case "did", "dids", "cid", "uri":
			word = strings.Replace(strings.ToUpper(word), "S", "s", 1)
		default:
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		b.WriteString(word)
	}
	return b.String()
}

// tsType returns a type in TypeScript.
func tsType(s *lexicons.Schema, nullable bool, indent string) string {
	s = definitions.Resolve(s)
	text := "unknown"
	switch s.Type {
	case "array":
		text = tsType(s.Items, false, indent)
		if strings.Contains(text, "|") {
			text = "(" + text + ")"
		}
		text += "[]"
	case "object":
		if s.Values != nil {
			text = "Record<string, " + tsType(s.Values, false, indent) + ">"
			break
		}
		var b strings.Builder
		b.WriteString("{\n")
		for _, p := range s.Properties {
			mark := ""
			if !slices.Contains(s.Required, p.Name) {
				mark = "?"
			}
			b.WriteString(indent + "  " + p.Name + mark + ": " + tsType(&p.Schema, slices.Contains(s.Nullable, p.Name),
				indent+"  ") + "\n")
		}
		b.WriteString(indent + "}")
		text = b.String()
	case "integer":
		text = "number"
	case "boolean":
		text = "boolean"
	case "string":
		text = "string"
		if s.Enum != nil {
			quoted := make([]string, len(s.Enum))
			for i, v := range s.Enum {
				quoted[i] = tsText(v)
			}
			text = strings.Join(quoted, " | ")
		}
	}
	if nullable {
		text += " | null"
	}
	return text
}
