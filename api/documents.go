package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/wire"
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

// lexiconList lists the lexicons by NSID.
func lexiconList() any {
	ids := make([]string, 0, len(definitions.Files))
	for id := range definitions.Files {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return wire.LexiconList{Lexicons: ids}
}

// lexicon serves a lexicon, as the file has it.
func lexicon() http.HandlerFunc {
	documents := map[string]http.HandlerFunc{}
	for id, file := range definitions.Files {
		documents[id] = document(typeJSON, file)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		serve, ok := documents[strings.TrimSuffix(chi.URLParam(r, "nsid"), ".json")]
		if !ok {
			notFound(w, r)
			return
		}
		serve(w, r)
	}
}

// object is a JSON object; encoding/json writes its members in order of their names.
type object = map[string]any

// openAPIDocument describes the whole API in OpenAPI 3.1, whose schemas are JSON Schema.
func openAPIDocument(version string) object {
	paths, schemas := object{}, object{"Error": object{
		"type": "object", "required": []string{"error", "message"},
		"properties": object{
			"error": object{"type": "string", "description": "The name of the error."},
			"message": object{"type": "string",
				"description": "What is wrong. If a parameter is invalid, the message begins with its name."},
		},
	}}
	for _, ref := range definitions.Refs() {
		schemas[refName(ref)] = jsonSchema(definitions.Resolve(&lexicons.Schema{Type: "ref", Ref: ref}))
	}
	for _, def := range definitions.Defs {
		paths[def.Path] = object{strings.ToLower(def.Method()): operation(def)}
	}
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "weft", "version": version, "license": object{"name": "MIT", "identifier": "MIT"},
			"summary": "A backlink index for the AT Protocol: who links here, from which kind of record, how many."},
		"paths":      paths,
		"components": object{"schemas": schemas},
	}
}

func operation(def *lexicons.Def) object {
	failure := func(description string) object {
		return object{"description": description,
			"content": object{typeJSON: object{"schema": object{"$ref": "#/components/schemas/Error"}}}}
	}
	wrong := make([]string, 0, len(def.Errors))
	for _, e := range def.Errors {
		wrong = append(wrong, "`"+e.Name+"`: "+e.Description)
	}
	id := def.ID
	if id == "" {
		id = strings.TrimPrefix(def.Path, "/")
	}
	op := object{
		"operationId": id,
		"description": def.Description,
		"responses": object{
			"200": object{"description": "The answer.", "content": media(def.Output)},
			"400": failure(strings.Join(wrong, " ")),
			"503": failure("`Timeout`: the query took too long."),
		},
	}
	if def.Parameters != nil {
		params := []object{}
		for _, p := range def.Parameters.Properties {
			// A repeated parameter is an array in form style, exploded, which is the default of OpenAPI too.
			params = append(params, object{"name": p.Name, "in": "query", "required": def.Requires(p.Name),
				"description": p.Description, "schema": jsonSchema(&p.Schema)})
		}
		op["parameters"] = params
	}
	if def.Input != nil {
		op["requestBody"] = object{"required": true, "content": media(def.Input)}
	}
	return op
}

func media(b *lexicons.Body) object {
	content := object{}
	if b.Schema != nil {
		content["schema"] = jsonSchema(b.Schema)
	}
	return object{b.Encoding: content}
}

// refName is the name of a shared definition where only letters, digits, dots, dashes and underscores are allowed.
func refName(ref string) string { return strings.ReplaceAll(ref, "#", ".") }

// jsonSchema turns a schema of the lexicon language into JSON Schema. Formats that JSON Schema doesn't know are
// annotations there.
func jsonSchema(s *lexicons.Schema) object {
	out := object{}
	put := func(name string, v any, ok bool) {
		if ok {
			out[name] = v
		}
	}
	put("description", s.Description, s.Description != "")
	put("format", jsonFormat(s.Format), s.Format != "")
	put("default", s.Default, s.Default != nil)
	put("minimum", s.Minimum, s.Minimum != nil)
	put("maximum", s.Maximum, s.Maximum != nil)
	put("enum", s.Enum, s.Enum != nil)
	switch s.Type {
	case "ref":
		out["$ref"] = "#/components/schemas/" + refName(s.Ref)
	case "unknown":
		out["type"] = "object"
	case "array":
		out["type"], out["items"] = "array", jsonSchema(s.Items)
		put("maxItems", s.MaxLength, s.MaxLength > 0)
	case "string":
		out["type"] = "string"
		put("maxLength", s.MaxLength, s.MaxLength > 0)
	case "object":
		properties := object{}
		for _, p := range s.Properties {
			member := jsonSchema(&p.Schema)
			if slices.Contains(s.Nullable, p.Name) {
				member["type"] = []any{member["type"], "null"}
			}
			properties[p.Name] = member
		}
		out["type"], out["properties"] = "object", properties
		put("required", s.Required, s.Required != nil)
	default:
		out["type"] = s.Type
	}
	return out
}

func jsonFormat(format string) string {
	if format == "datetime" {
		return "date-time"
	}
	return format
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

// members lists an object's members, one to a line, those within them indented.
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
		if inner.Type == "object" {
			members(b, inner, indent+"  ")
		}
	}
}

// cell escapes what would end a cell of a table.
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
