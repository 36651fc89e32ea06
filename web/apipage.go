package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/origin"
	"weft.dev/weft/api/routes"
)

// apiPath is the path of the API pages: a list of all methods, and below it a page with a form for each. They are
// generated from the definitions by which the API checks its parameters.
const apiPath = "/api"

// definitions are the definitions in package lexicons.
var definitions = lexicons.Load()

// nameOf returns the name of a method in addresses: its NSID, or its path without the leading slash.
func nameOf(def *lexicons.Def) string {
	if def.ID != "" {
		return def.ID
	}
	return strings.TrimPrefix(def.Path, "/")
}

// streamOf returns the protocol of a stream, empty for all other methods.
func streamOf(def *lexicons.Def) routes.Stream { return routes.At(def.Path).Stream }

// apiGroup is a group of related methods.
type apiGroup struct {
	Name    string // anchor of the group
	Title   string
	About   string
	Methods []apiMethod
}

type apiMethod struct {
	Name, Short, Method, Path, Description string

	def *lexicons.Def
}

// Href returns the address of the method's page.
func (m apiMethod) Href() string { return apiPath + "/" + m.Name }

// groups returns all methods in groups, the most useful for beginners first.
func groups() []apiGroup {
	all := []apiGroup{
		{Name: "own", Title: "weft’s own methods",
			About: "Lists with times and time ranges, many counts per request, and all links to an account."},
		{Name: "streams", Title: "Live streams", About: "Added and removed links, live. weft sends a link after it is " +
			"committed: counts and lists already include it."},
		{Name: "constellation", Title: "Constellation’s methods",
			About: "These methods are compatible with Constellation: its clients work here."},
		{Name: "routes", Title: "Constellation’s older routes",
			About: "Most clients use these plain paths."},
		{Name: "feeds", Title: "Feeds and badges", About: "Links for feed readers, and counts for other sites' pages."},
	}
	for _, def := range definitions.Defs {
		at := 3
		switch {
		case streamOf(def) != "":
			at = 1
		case def.Param("host") != nil:
			at = 4
		case strings.HasPrefix(def.ID, "dev.weft."):
			at = 0
		case def.ID != "":
			at = 2
		}
		name := nameOf(def)
		short := def.Path
		if def.ID != "" {
			short = name[strings.LastIndexByte(name, '.')+1:]
		}
		all[at].Methods = append(all[at].Methods, apiMethod{name, short, def.Method(), def.Path, def.Description, def})
	}
	return all
}

// methodPage is the page of a method: its form, its parameters, and the answer if it was queried.
type methodPage struct {
	apiMethod
	Group    string
	Asked    bool
	Stream   string // events or websocket; empty: not a stream
	Listen   string // address of the stream
	Fields   []field
	Body     *field // the body; nil: the method has none
	Code     []snippet
	Encoding string
	Sent     []member
	Members  []member
	Errors   []lexicons.Error
	Answer   *shownAnswer // nil: not queried
}

// shownAnswer is the answer to a query of the form.
type shownAnswer struct {
	Status int
	Text   string // text of the status
	Took   string
	JSON   string
	Cut    bool // the answer is longer than shown
	Bytes  int64
	Href   string // page of the answer; empty: it has none
}

// apiPages returns the pages about the API: the list of methods and a page for each.
func (s *Server) apiPages() map[string]page {
	pages := map[string]page{apiPath: {"api", func(context.Context, *answer) (*view, error) {
		return &view{Title: "The API", About: "Every method of this backlink index, each with a form to try it.",
			Main: groups()}, nil
	}}}
	for _, g := range groups() {
		for _, m := range g.Methods {
			pages[m.Href()] = page{"method", func(ctx context.Context, a *answer) (*view, error) {
				return s.method(ctx, a, g,
					m)
			}}
		}
	}
	return pages
}

func (s *Server) method(ctx context.Context, a *answer, g apiGroup, m apiMethod) (*view, error) {
	q := s.questionOf(ctx, m.def, a.params())
	p := methodPage{apiMethod: m, Group: g.Title, Asked: q.asked, Stream: string(streamOf(m.def)), Fields: q.fields,
		Body:     q.body,
		Encoding: m.def.Output.Encoding, Errors: m.def.Errors, Code: code(m.def, origin.Of(a.request), q)}
	if m.def.Output.Schema != nil {
		p.Members = membersOf(m.def.Output.Schema)
	}
	if m.def.Input != nil {
		p.Sent = membersOf(m.def.Input.Schema)
	}
	if p.Stream != "" {
		p.Listen = m.Path + "?" + q.encoded()
	} else if q.asked {
		p.Answer = s.try(a.request, m.def, q)
	}
	return &view{Title: m.Short, About: m.Description, Main: p}, nil
}

// try sends the visitor's query to the API.
func (s *Server) try(r *http.Request, def *lexicons.Def, q *question) *shownAnswer {
	began := s.Now()
	a := s.do(r, def.Method(), def.Path, q.encoded(), q.sent())
	shown := &shownAnswer{Status: a.status, Text: http.StatusText(a.status), Bytes: int64(len(a.body)),
		Took: s.Now().Sub(began).Round(100 * time.Microsecond).String()}
	if def.Method() == http.MethodGet && a.status == http.StatusOK {
		shown.Href = def.Path + "?" + q.encoded()
	}
	var indented bytes.Buffer
	text := string(a.body)
	if a.isJSON() && json.Indent(&indented, a.body, "", "  ") == nil {
		text = indented.String()
	}
	shown.Cut = len(text) > maxRaw
	if shown.Cut {
		text = text[:strings.LastIndexByte(text[:maxRaw], '\n')+1]
	}
	shown.JSON = strings.ToValidUTF8(text, "\uFFFD")
	return shown
}
