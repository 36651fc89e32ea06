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

// apiPath is where the API is explained and can be tried: all methods there, and each under it. The pages are made of
// the definitions that the API checks its parameters by, so that they say what it does.
const apiPath = "/api"

// definitions is what package lexicons says.
var definitions = lexicons.Load()

// nameOf is what a method is called in addresses: its NSID, or its path without the slash.
func nameOf(def *lexicons.Def) string {
	if def.ID != "" {
		return def.ID
	}
	return strings.TrimPrefix(def.Path, "/")
}

// streamOf returns the protocol of a stream, empty for all other methods.
func streamOf(def *lexicons.Def) routes.Stream { return routes.At(def.Path).Stream }

// apiGroup is methods that belong together.
type apiGroup struct {
	Name    string // of their addresses' section
	Title   string
	About   string
	Methods []apiMethod
}

type apiMethod struct {
	Name, Short, Method, Path, Description string

	def *lexicons.Def
}

// Href is where the page about it is.
func (m apiMethod) Href() string { return apiPath + "/" + m.Name }

// groups are all methods, in the order in which somebody new looks for them.
func groups() []apiGroup {
	all := []apiGroup{
		{Name: "own", Title: "weft’s own methods",
			About: "Lists with times and time ranges, many counts per request, and all links to an account."},
		{Name: "streams", Title: "Live streams", About: "Added and removed links, live. weft sends a link after it is " +
			"committed: counts and lists already include it."},
		{Name: "constellation", Title: "Constellation’s methods",
			About: "These methods are compatible with Constellation: its clients work here."},
		{Name: "routes", Title: "Constellation’s older routes",
			About: "These plain paths are the ones that most clients use."},
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

// methodPage is one method: how to ask, and what it answered if it was asked.
type methodPage struct {
	apiMethod
	Group    string
	Asked    bool
	Stream   string // events or websocket; empty: it answers and is done
	Listen   string // where the stream is
	Fields   []field
	Body     *field // what is sent, where something is
	Code     []snippet
	Encoding string
	Sent     []member
	Members  []member
	Errors   []lexicons.Error
	Answer   *shownAnswer // nil: it has not been asked
}

// shownAnswer is what came of a question.
type shownAnswer struct {
	Status int
	Text   string // of the status
	Took   string
	JSON   string
	Cut    bool // there is more than is shown
	Bytes  int64
	Href   string // the page of the answer; empty where it has none
}

// apiPages are the pages about the API: all methods, and each.
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

// try asks the API what the visitor filled in.
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
