package api

import (
	"slices"
	"strings"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
)

// object is a JSON object. encoding/json sorts its members by name.
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
	for _, def := range definitions.Defs {
		paths[def.Path] = object{strings.ToLower(def.Method()): operation(def)}
	}
	addSchemas(schemas, paths)
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "weft", "version": version, "license": object{"name": "MIT", "identifier": "MIT"},
			"summary": "A backlink index for the AT Protocol: who links here, from which kind of record, how many.",
			"description": "Every answer is public: no request is authenticated. Every failure is an Error. A 429 and " +
				"a 503 have the header Retry-After.",
			"contact": object{"name": "The operator of this server"}},
		"servers":    []object{{"url": "/", "description": "The server that this document comes from."}},
		"security":   []object{}, // none is needed
		"tags":       tags(),
		"paths":      paths,
		"components": object{"schemas": schemas, "responses": sharedResponses()},
	}
}

// schemaPrefix begins a reference to a schema.
const schemaPrefix = "#/components/schemas/"

// addSchemas adds the definitions that v refers to, directly or indirectly.
func addSchemas(schemas object, v any) {
	switch v := v.(type) {
	case object:
		for name, member := range v {
			ref, _ := member.(string)
			if schema, ok := strings.CutPrefix(ref, schemaPrefix); ok && name == "$ref" && schemas[schema] == nil {
				refs := definitions.Refs()
				i := slices.IndexFunc(refs, func(ref string) bool { return refName(ref) == schema })
				schemas[schema] = jsonSchema(definitions.Resolve(&lexicons.Schema{Type: "ref", Ref: refs[i]}))
				addSchemas(schemas, schemas[schema])
			}
			addSchemas(schemas, member)
		}
	case []object:
		for _, item := range v {
			addSchemas(schemas, item)
		}
	}
}

// apiTags are the groups of operations. A path belongs to the first group with a matching prefix.
var apiTags = []struct{ name, prefix, description string }{
	{"Constellation", routes.Prefix + "blue.microcosm.", "The methods of Constellation."},
	{"weft", routes.Prefix, "Methods of weft's own."},
	{"Older routes", routes.Links.Path, "Constellation's routes from before XRPC."},
	{"Streams", "", "Links as they come and go."}, // whatever their prefix
	{"Feeds and badges", "/", "Answers for feed readers and for web pages."},
}

func tags() []object {
	var all []object
	for _, t := range apiTags {
		all = append(all, object{"name": t.name, "description": t.description})
	}
	return all
}

func tagOf(path string) string {
	stream := routes.At(path).Stream != ""
	i := slices.IndexFunc(apiTags, func(t struct{ name, prefix, description string }) bool {
		return stream == (t.prefix == "") && strings.HasPrefix(path, t.prefix)
	})
	return apiTags[i].name
}

// failed is the response of a failure.
func failed(description string, headers object) object {
	response := object{"description": description,
		"content": object{typeJSON: object{"schema": object{"$ref": schemaPrefix + "Error"}}}}
	if headers != nil {
		response["headers"] = headers
	}
	return response
}

// sharedResponses are the failures that every operation may have.
func sharedResponses() object {
	seconds := func(description string) object {
		return object{"description": description, "schema": object{"type": "integer", "minimum": 0}}
	}
	retry := seconds("Seconds to wait before the next request.")
	return object{
		"RateLimited": failed("`RateLimitExceeded`: this client address has made too many requests (only where the "+
			"operator has set a limit). Streams: `TooManySubscribers`, `TooManyFilters`.", object{
			"Retry-After":         retry,
			"RateLimit-Limit":     seconds("Requests a minute."),
			"RateLimit-Remaining": seconds("Requests left."),
			"RateLimit-Reset":     seconds("Seconds until all requests are back."),
		}),
		"Unavailable": failed("`Timeout`: the query took longer than 10 seconds. `Busy`: too many requests wait. "+
			"`NotReady`: the index is being opened.", object{"Retry-After": retry}),
		"Internal": failed("`InternalServerError`: a fault of this server; its log has the error.", nil),
	}
}

func operation(def *lexicons.Def) object {
	wrong := make([]string, 0, len(def.Errors))
	for _, e := range def.Errors {
		wrong = append(wrong, "`"+e.Name+"`: "+e.Description)
	}
	shared := func(name string) object { return object{"$ref": "#/components/responses/" + name} }
	responses := object{
		"200": object{"description": answerText(def), "content": media(def.Output)},
		"400": failed(strings.Join(wrong, " "), nil),
		"429": shared("RateLimited"),
		"500": shared("Internal"),
		"503": shared("Unavailable"),
	}
	if routes.At(def.Path).Stream == routes.WebSocket {
		responses["426"] = failed("`UpgradeRequired`: the request does not ask for a WebSocket.", nil)
	}
	op := object{
		"operationId": operationID(def), "tags": []string{tagOf(def.Path)},
		"summary": firstSentence(def.Description), "description": def.Description, "responses": responses,
	}
	if def.Parameters != nil {
		params := []object{}
		for _, p := range def.Parameters.Properties {
			// A repeated parameter is an array in form style, exploded, which is also OpenAPI's default.
			params = append(params, object{"name": p.Name, "in": "query", "required": def.Requires(p.Name),
				"description": p.Description, "schema": jsonSchema(&p.Schema)})
		}
		op["parameters"] = params
	}
	if def.Input != nil {
		responses["413"] = failed("`PayloadTooLarge`: the body has more than 1 MiB.", nil)
		op["requestBody"] = object{"required": true, "content": media(def.Input)}
	}
	return op
}

// answerText describes the answer of an operation.
func answerText(def *lexicons.Def) string {
	switch routes.At(def.Path).Stream {
	case routes.WebSocket:
		return "The text frames of the WebSocket, which follow a 101 (Switching Protocols)."
	case routes.ServerEvents:
		return "Server-sent events that do not end."
	}
	return "The answer."
}

// operationID returns the NSID, or the path with dots: links.all.count.
func operationID(def *lexicons.Def) string {
	if def.ID != "" {
		return def.ID
	}
	return strings.ReplaceAll(strings.TrimPrefix(def.Path, "/"), "/", ".")
}

// firstSentence returns the first sentence of a description, up to its first colon, semicolon or comma.
func firstSentence(description string) string {
	sentence, _, _ := strings.Cut(description, ". ")
	for _, end := range []string{":", ";", ", "} {
		sentence, _, _ = strings.Cut(sentence, end)
	}
	return strings.TrimSuffix(sentence, ".")
}

func media(b *lexicons.Body) object {
	content := object{}
	if b.Schema != nil {
		content["schema"] = jsonSchema(b.Schema)
	}
	return object{b.Encoding: content}
}

// refName returns the name of a shared definition in the characters that OpenAPI allows: letters, digits, dots, dashes
// and underscores.
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
		out["$ref"] = schemaPrefix + refName(s.Ref)
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
		if s.Values != nil {
			out["additionalProperties"] = jsonSchema(s.Values)
		}
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
