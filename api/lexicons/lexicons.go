// Package lexicons defines the API: a lexicon for each XRPC method, and definitions of the same shape for the routes
// without an NSID. Handlers check parameters by them, documents are generated from them, and tests compare answers with
// them, so that the three always agree.
package lexicons

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"weft.dev/weft/api/routes"
)

//go:embed *.json
var files embed.FS

// routesFile holds the definitions of routes by path; every other file is a lexicon, and its name is its NSID.
const routesFile = "routes.json"

// Def is a method: a query, which is a GET, or a procedure, which is a POST.
type Def struct {
	ID          string  `json:"-"` // NSID; empty for a route
	Path        string  `json:"-"` // path of the route
	Type        string  `json:"type"`
	Description string  `json:"description"`
	Parameters  *Schema `json:"parameters"` // nil: none
	Input       *Body   `json:"input"`      // procedures only
	Output      *Body   `json:"output"`
	Errors      []Error `json:"errors"`
}

// Body is the type of a request or an answer.
type Body struct {
	Encoding    string  `json:"encoding"`
	Description string  `json:"description"`
	Schema      *Schema `json:"schema"` // nil: anything
}

// Error is a failure with its own name.
type Error struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Schema is a type of the lexicon language, as far as weft uses it.
type Schema struct {
	Type        string     `json:"type"`
	Format      string     `json:"format"`
	Description string     `json:"description"`
	Ref         string     `json:"ref"`       // of a ref
	Default     any        `json:"default"`   // nil: none
	Minimum     *int64     `json:"minimum"`   // of an integer
	Maximum     *int64     `json:"maximum"`   // of an integer
	MaxLength   int        `json:"maxLength"` // of a string, in bytes; of an array, in items; 0: any
	Enum        []string   `json:"enum"`      // of a string; nil: any
	Items       *Schema    `json:"items"`     // of an array
	Required    []string   `json:"required"`  // of an object and of params
	Nullable    []string   `json:"nullable"`
	Properties  Properties `json:"properties"`
	// Values is the type of the members of an object with arbitrary names; nil: all members are Properties. Only
	// routes.json has it: lexicons cannot express it.
	Values *Schema `json:"additionalProperties"`
}

// Property is a named member.
type Property struct {
	Name string
	Schema
}

// Properties are in the order of the file.
type Properties []Property

// UnmarshalJSON keeps the order, which a map would lose.
func (p *Properties) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var s Schema
		if err := d.Decode(&s); err != nil {
			return err
		}
		*p = append(*p, Property{name.(string), s})
	}
	return nil
}

// Get returns the schema of a property, or nil.
func (p Properties) Get(name string) *Schema {
	for i := range p {
		if p[i].Name == name {
			return &p[i].Schema
		}
	}
	return nil
}

// Param returns the schema of a parameter, or nil.
func (d *Def) Param(name string) *Schema {
	if d.Parameters == nil {
		return nil
	}
	return d.Parameters.Properties.Get(name)
}

// Requires reports whether a parameter is required.
func (d *Def) Requires(name string) bool {
	return d.Parameters != nil && slices.Contains(d.Parameters.Required, name)
}

// Method returns the HTTP method.
func (d *Def) Method() string {
	if d.Type == "procedure" {
		return "POST"
	}
	return "GET"
}

// Table holds all definitions. It is read-only.
type Table struct {
	Defs  []*Def            // methods in the order of their NSIDs, then routes in the order of the file
	Files map[string][]byte // text of each lexicon by NSID
	defs  map[string]*Schema
	paths map[string]*Def
}

// Load reads the embedded definitions. It panics if they are malformed; every test would fail then.
func Load() *Table {
	t := &Table{Files: map[string][]byte{}, defs: map[string]*Schema{}, paths: map[string]*Def{}}
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if e.Name() == routesFile {
			continue
		}
		data := read(e.Name())
		id := strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
		t.Files[id] = data
		t.lexicon(id, data)
	}
	var routes struct {
		Paths []*struct {
			Path string `json:"path"`
			Def
		} `json:"routes"`
	}
	decode(routesFile, read(routesFile), &routes)
	for _, r := range routes.Paths {
		r.Def.Path = r.Path
		t.add(&r.Def)
	}
	return t
}

func (t *Table) lexicon(id string, data []byte) {
	var l struct {
		ID   string                     `json:"id"`
		Defs map[string]json.RawMessage `json:"defs"`
	}
	decode(id, data, &l)
	if l.ID != id {
		panic(fmt.Sprintf("lexicons: the file of %s has the id %s", id, l.ID))
	}
	for name, raw := range l.Defs {
		if name == "main" {
			d := &Def{ID: id, Path: routes.Prefix + id}
			decode(id, raw, d)
			t.add(d)
			continue
		}
		s := &Schema{}
		decode(id, raw, s)
		t.defs[id+"#"+name] = s
	}
	// Local references become global, so that a schema can be used without its file.
	local := func(s *Schema) {
		if strings.HasPrefix(s.Ref, "#") {
			s.Ref = id + s.Ref
		}
	}
	for key, s := range t.defs {
		if strings.HasPrefix(key, id+"#") {
			each(s, local)
		}
	}
	if d := t.paths[routes.Prefix+id]; d != nil {
		for _, body := range []*Body{d.Input, d.Output} {
			if body != nil {
				each(body.Schema, local)
			}
		}
	}
}

func (t *Table) add(d *Def) {
	t.Defs = append(t.Defs, d)
	t.paths[d.Path] = d
}

// At returns the definition of a path; nil if there is none.
func (t *Table) At(path string) *Def { return t.paths[path] }

// Resolve returns the schema that a reference names, or s itself.
func (t *Table) Resolve(s *Schema) *Schema {
	if s.Type != "ref" {
		return s
	}
	if at := t.defs[s.Ref]; at != nil {
		return at
	}
	panic("lexicons: there is no " + s.Ref)
}

// Refs returns the names of all shared definitions, in order.
func (t *Table) Refs() []string {
	refs := make([]string, 0, len(t.defs))
	for ref := range t.defs {
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	return refs
}

// each calls do for a schema and all schemas within it.
func each(s *Schema, do func(*Schema)) {
	if s == nil {
		return
	}
	do(s)
	each(s.Items, do)
	each(s.Values, do)
	for i := range s.Properties {
		each(&s.Properties[i].Schema, do)
	}
}

func read(name string) []byte {
	data, err := files.ReadFile(name)
	if err != nil {
		panic(err)
	}
	return data
}

func decode(name string, data []byte, into any) {
	if err := json.Unmarshal(data, into); err != nil {
		panic(fmt.Sprintf("lexicons: %s: %v", name, err))
	}
}
