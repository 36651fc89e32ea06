package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/client/ts"
)

// This file serves the documents that are generated from the lexicons.

// document returns the handler of a document that never changes. It hashes and compresses the document once.
func document(contentType string, body []byte) http.HandlerFunc {
	replies := map[string]*reply{}
	for _, encoding := range []string{"", "gzip", "zstd"} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": {encoding}}}
		replies[encoding] = newReply(r, http.StatusOK, contentType, cacheLong, body)
	}
	tag := replies[""].tag
	return func(w http.ResponseWriter, r *http.Request) {
		a := *replies[accepted(r.Header.Values("Accept-Encoding"))]
		a.unchanged = matches(r.Header.Values("If-None-Match"), tag)
		if a.unchanged {
			a.tag = tag
		}
		a.send(w, r)
	}
}

// clientModule serves the TypeScript client as an ES module. The header has the address of its types, for Deno.
func clientModule() http.HandlerFunc {
	serve := document("text/javascript; charset=utf-8", ts.JavaScript)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-TypeScript-Types", routes.ClientTypes.Path)
		serve(w, r)
	}
}

// lexiconList lists the lexicons by NSID.
func lexiconList() any {
	ids := make([]string, 0, len(definitions.Files))
	for id := range definitions.Files {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return wire.LexiconList{Lexicons: ids}
}

// lexicon serves a lexicon unchanged from its file.
func lexicon() http.HandlerFunc {
	documents := map[string]http.HandlerFunc{}
	for id, file := range definitions.Files {
		documents[id] = document(typeJSON, file)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		serve, ok := documents[strings.TrimSuffix(lexiconOf(r), ".json")]
		if !ok {
			notFound(w, r)
			return
		}
		serve(w, r)
	}
}

// markdown returns docs/reference.md. A test compares the file with it.
func markdown() string {
	var b strings.Builder
	b.WriteString("# Every method and parameter\n\nGenerated from [api/lexicons](../api/lexicons) by\n" +
		"`go test ./api -run TestReference -update`; [api.md](api.md) explains the terms. R: required. \\*: repeatable.\n")
	for _, def := range definitions.Defs {
		name := def.ID
		if name == "" {
			name = def.Path
		}
		b.WriteString("\n## " + name + "\n\n`" + def.Method() + " " + def.Path + "`: " + def.Description + "\n")
		if def.Parameters != nil {
			b.WriteString("\n| parameter | type | description |\n| --- | --- | --- |\n")
			for _, p := range def.Parameters.Properties {
				mark := ""
				if def.Requires(p.Name) {
					mark = " R"
				}
				if p.Type == "array" {
					mark += " \\*"
				}
				b.WriteString("| `" + p.Name + "`" + mark + " | " + typeText(&p.Schema) + " | " + cell(p.Description) + " |\n")
			}
		}
		if def.Input != nil {
			b.WriteString("\nRequest body:\n\n")
			members(&b, def.Input.Schema, "")
		}
		if def.Output.Schema != nil {
			b.WriteString("\nResponse:\n\n")
			members(&b, def.Output.Schema, "")
		}
		b.WriteString("\nErrors:")
		for i, e := range def.Errors {
			if i > 0 {
				b.WriteString(";")
			}
			b.WriteString(" `" + e.Name + "`")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// members lists an object's members, one per line, nested ones indented.
func members(b *strings.Builder, s *lexicons.Schema, indent string) {
	s = definitions.Resolve(s)
	for _, p := range s.Properties {
		mark := ""
		if !slices.Contains(s.Required, p.Name) {
			mark = ", optional"
		}
		if slices.Contains(s.Nullable, p.Name) {
			mark += ", nullable"
		}
		b.WriteString(indent + "- `" + p.Name + "`: " + typeText(&p.Schema) + mark)
		if p.Description != "" {
			b.WriteString(". " + p.Description)
		}
		b.WriteString("\n")
		inner := definitions.Resolve(&p.Schema)
		if inner.Type == "array" {
			inner = definitions.Resolve(inner.Items)
		}
		for inner.Values != nil {
			inner = definitions.Resolve(inner.Values)
		}
		if inner.Type == "object" {
			members(b, inner, indent+"  ")
		}
	}
}

// cell escapes characters that would end a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// typeText describes a type in words.
func typeText(s *lexicons.Schema) string {
	s = definitions.Resolve(s)
	number := func(n *int64) string {
		text, _ := json.Marshal(n)
		return string(text)
	}
	switch s.Type {
	case "array":
		text := "array of " + typeText(s.Items)
		if s.MaxLength > 0 {
			n := int64(s.MaxLength)
			text += ", at most " + number(&n)
		}
		return text
	case "object":
		if s.Values != nil {
			return "object of any names, each " + typeText(s.Values)
		}
	case "unknown":
		return "object"
	case "integer":
		if s.Minimum != nil && s.Maximum != nil {
			text := "integer, " + number(s.Minimum) + " to " + number(s.Maximum)
			if s.Default != nil {
				d, _ := json.Marshal(s.Default)
				text += ", by default " + string(d)
			}
			return text
		}
	case "string":
		if s.Format != "" {
			return s.Format
		}
		if s.Enum != nil {
			return "`" + strings.Join(s.Enum, "`, `") + "`"
		}
	}
	return s.Type
}
