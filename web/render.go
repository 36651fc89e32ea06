package web

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"

	"weft.dev/weft/api/origin"
	"weft.dev/weft/api/routes"
)

//go:embed templates
var templateFiles embed.FS

// view is the data of the layout.
type view struct {
	Title   string // title of the document
	About   string // sentence for previews of the page; empty: a description of weft
	Target  string // target of the page, in the search input
	Feeds   []feedLink
	OpenRaw bool // the page shows only the raw answer
	Main    any  // data of the page's template

	// The fields below are set by render.
	Path   string
	Origin string  // public address of this server: https://weft.example
	URL    string  // URL of this page
	Names  bool    // handles can be looked up
	Notice *notice // reason why answers may be out of date; nil: they are current
	Raw    *raw    // nil: the page has no answer of the API
}

// raw is the answer of the API that a page shows.
type raw struct {
	JSON  string // indented; empty: too long to show
	Bytes int64  // its size
	Open  bool   // the page shows only this
	Href  string // address of the JSON, for a browser
	Curl  string // curl command of the query
}

// maxRaw limits the displayed part of an answer, in bytes: some screens. A page of a thousand links would be twice as
// large for a part that few people open.
const maxRaw = 16 << 10

// loadTemplates parses each page's template together with the layout.
func loadTemplates(assets map[string]asset) map[string]*template.Template {
	funcs := template.FuncMap{"asset": func(name string) string {
		return "/assets/" + name + "?v=" +
			assets["/assets/"+name].version
	}}
	for name, f := range templateFuncs {
		funcs[name] = f
	}
	layout := template.Must(template.New("layout.html").Funcs(funcs).ParseFS(templateFiles, "templates/layout.html",
		"templates/parts.html"))
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err)
	}
	templates := map[string]*template.Template{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		templates[name] = template.Must(template.Must(layout.Clone()).ParseFS(templateFiles, "templates/"+e.Name()))
	}
	return templates
}

// policy restricts pages to resources of this server. Pages have no inline script or style, so that one in a record's
// text has no effect.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// render writes a page. a is its answer of the API; nil: none.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, v *view, a *answer) {
	v.Path = r.URL.Path
	v.Origin = origin.Of(r)
	v.Names = s.Names != nil
	v.URL = v.Origin + r.URL.RequestURI()
	if r.URL.Path != routes.Status.Path { // its headline has the notice
		v.Notice = s.notice()
	}
	if a != nil && a.isJSON() {
		v.Raw = rawOf(v.Origin, a)
		v.Raw.Open = v.OpenRaw
	}
	var page bytes.Buffer
	if err := s.templates[name].Execute(&page, v); err != nil {
		panic(err) // the template doesn't match its data
	}
	h := w.Header()
	protect(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", "Accept")
	h.Set("Cache-Control", "public, max-age=1") // as for the answer: short, but enough for a crowd
	if status != http.StatusOK {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page.Bytes()) // fails only when the visitor has left
	}
}

// fail writes the page of a failed answer.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, a *answer) { s.refuse(w, r, a.problem()) }

// refuse writes the page of a failure.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	v := &view{Title: "Server error", Main: p}
	switch {
	case p.Status == http.StatusNotFound, p.Status == http.StatusNotImplemented:
		v.Title = "Not found"
	case p.Status == http.StatusTooManyRequests:
		v.Title = "Too many requests"
	case p.Status == http.StatusServiceUnavailable:
		v.Title = "Try again later"
	case p.Status == http.StatusMethodNotAllowed:
		v.Title = "Method not allowed"
	case p.Status < http.StatusInternalServerError:
		v.Title = "Invalid request"
	}
	q := r.URL.Query()
	v.Target = cmp.Or(q.Get("q"), q.Get("target"), q.Get("subject"))
	s.render(w, r, p.Status, "error", v, nil)
}

// rawOf returns the raw view of an answer.
func rawOf(origin string, a *answer) *raw {
	address := a.path
	if a.query != "" {
		address += "?" + a.query
	}
	r := &raw{Bytes: int64(len(a.body)), Curl: "curl '" + strings.ReplaceAll(origin+address, "'", "%27") + "'"}
	r.Href = a.path + "?" + strings.TrimPrefix(a.query+"&"+formatParameter+"=json", "&")
	if len(a.body) <= maxRaw {
		var b bytes.Buffer
		if json.Indent(&b, a.body, "", "  ") == nil {
			r.JSON = b.String()
		}
	}
	return r
}
