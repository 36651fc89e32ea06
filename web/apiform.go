package web

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"weft.dev/weft/api/lexicons"
)

// field is a parameter in a form.
type field struct {
	Name, Kind  string // Kind: text, number, flag, choice, lines, json
	Type        string // in words
	Description string
	Required    bool
	Value       string // of lines: one value per line
	Placeholder string
	Min, Max    int64 // bounds of a number
	Rows        int   // height of lines and json
	Choices     []string
}

// question is a query of a method, entered by a visitor or made of examples.
type question struct {
	fields []field
	body   *field
	asked  bool        // entered by the visitor; otherwise the values are examples
	values [][2]string // parameters with their values, in the order of the definition
}

// bodyField is the name of the form field with a procedure's body.
const bodyField = "body"

// questionOf reads the submitted fields. Empty fields are ignored. Without any submitted field, the question has
// examples.
func (s *Server) questionOf(ctx context.Context, def *lexicons.Def, given url.Values) *question {
	q := &question{}
	var properties lexicons.Properties
	if def.Parameters != nil {
		properties = def.Parameters.Properties
	}
	for _, p := range properties {
		q.asked = q.asked || given.Has(p.Name)
	}
	q.asked = q.asked || given.Has(bodyField) && def.Input != nil
	var example map[string]string
	if !q.asked {
		example = s.examples(ctx, def)
	}
	for _, p := range properties {
		f := fieldOf(&p, def.Requires(p.Name))
		var values []string
		for _, v := range given[p.Name] {
			values = append(values, split(&f, v)...)
		}
		if v := example[p.Name]; v != "" && (f.Required || len(def.Parameters.Required) == 0 && len(q.values) == 0) {
			values = []string{v}
		}
		f.Value = strings.Join(values, "\n")
		for _, v := range values {
			q.values = append(q.values, [2]string{p.Name, v})
		}
		if f.Kind == "lines" {
			f.Rows = min(max(2, len(values)+1), 8)
		}
		q.fields = append(q.fields, f)
	}
	if def.Input != nil {
		q.body = &field{Name: bodyField, Kind: "json", Type: "JSON", Description: def.Input.Description, Required: true,
			Rows: 6, Value: given.Get(bodyField)}
		if !q.asked {
			pair := map[string]any{"pairs": []any{map[string]string{"subject": example["subject"], "source": example["source"]}}}
			text, err := json.MarshalIndent(pair, "", "  ")
			if err != nil {
				panic(err) // strings always encode
			}
			q.body.Value = string(text)
		}
	}
	return q
}

// split returns the values of a submitted field. Forms also send empty fields, which the API refuses, and nothing for
// an unticked box.
func split(f *field, text string) (values []string) {
	lines := []string{text}
	if f.Kind == "lines" {
		lines = strings.Split(text, "\n")
	}
	for _, v := range lines {
		v = strings.TrimSpace(v)
		if v != "" && (f.Kind != "flag" || v != "false") {
			values = append(values, v)
		}
	}
	return values
}

func fieldOf(p *lexicons.Property, required bool) field {
	f := field{Name: p.Name, Kind: "text", Type: typeText(&p.Schema), Description: p.Description, Required: required}
	inner := &p.Schema
	switch {
	case p.Type == "array":
		f.Kind = "lines"
		inner = p.Items
	case p.Type == "integer":
		f.Kind = "number"
		f.Min = *p.Minimum
		f.Max = *p.Maximum
	case p.Type == "boolean":
		f.Kind = "flag"
	case p.Enum != nil:
		f.Kind = "choice"
		f.Choices = p.Enum
	}
	switch inner.Format {
	case "did":
		f.Placeholder = "did:plc:…"
	case "uri":
		f.Placeholder = "at://… or https://…"
	case "nsid":
		f.Placeholder = "app.bsky.feed.like"
	case "datetime":
		f.Placeholder = "2026-07-01T12:00:00Z"
	}
	if p.Default != nil && f.Kind == "number" {
		if n, ok := p.Default.(float64); ok {
			f.Placeholder = strconv.FormatFloat(n, 'f', -1, 64)
		}
	}
	return f
}

// encoded returns the query string.
func (q *question) encoded() string {
	pairs := make([]string, 0, 2*len(q.values))
	for _, v := range q.values {
		pairs = append(pairs, v[0], v[1])
	}
	return form(pairs...)
}

// sent returns the body; nil without one.
func (q *question) sent() []byte {
	if q.body == nil {
		return nil
	}
	return []byte(q.body.Value)
}

// get returns the first value of a parameter and whether it has one.
func (q *question) get(name string) (string, bool) {
	for _, v := range q.values {
		if v[0] == name {
			return v[1], true
		}
	}
	return "", false
}

// all returns the values of a parameter.
func (q *question) all(name string) (values []string) {
	for _, v := range q.values {
		if v[0] == name {
			values = append(values, v[1])
		}
	}
	return values
}

// exampleRows is the number of log rows searched for an example: one or two seconds of the network, which have all
// frequent kinds of records.
const exampleRows = 500

// examples returns values for a method's parameters that have an answer in this index. They come from the newest rows
// of the log: from the most frequent source or, for a method that reads other links of a record, from records with two
// links. Of these, the newest link of the target with the most new links is the example: one of many links can be
// removed, and its list is not empty. An empty log gives none.
func (s *Server) examples(ctx context.Context, def *lexicons.Def) map[string]string {
	newest := s.Store.Seq()
	entries, _, err := s.Store.Log(ctx, newest-min(newest, exampleRows), exampleRows)
	if err != nil {
		s.Logger.Error("no examples for the pages about the API", "err", err)
		return nil
	}
	counts := map[string]int{}
	most := ""
	for _, e := range entries {
		for _, l := range e.Added {
			source := e.Collection + ":" + l.Path
			counts[source]++
			if counts[source] > counts[most] {
				most = source
			}
		}
	}
	links := map[string]int{} // by target
	example := map[string]string{}
	for _, e := range entries {
		if len(e.Added) == 0 {
			continue
		}
		l := e.Added[0]
		other := e.Added[len(e.Added)-1]
		if def.Param("pathToOther") != nil && l.Path == other.Path || def.Param("pathToOther") == nil &&
			e.Collection+":"+l.Path != most {
			continue
		}
		links[l.Target]++
		if links[l.Target] < links[example["target"]] {
			continue
		}
		example = map[string]string{
			"subject": l.Target, "target": l.Target, "did": e.DID,
			"collection": e.Collection, "path": "." + l.Path, "source": e.Collection + ":" + l.Path, "pathToOther": other.Path,
			"rkey": e.Rkey,
		}
		if account, ok := ownerOf(l.Target); ok && def.Param("rkey") == nil {
			example["did"] = account
		}
	}
	return example
}

// ownerOf returns the account that a target is or belongs to.
func ownerOf(target string) (did string, ok bool) {
	did, _, _ = strings.Cut(strings.TrimPrefix(target, "at://"), "/")
	return did, strings.HasPrefix(did, "did:")
}
