package api

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
)

// tableOfRoutes returns a path of each route.
func tableOfRoutes() []string {
	var paths []string
	for _, r := range routes.All {
		paths = append(paths, strings.ReplaceAll(r.Path, "{nsid}", "blue.microcosm.links.getBacklinks"))
	}
	return paths
}

// TestDefinitions: every definition is served, every route is defined, and every member has a description.
func TestDefinitions(t *testing.T) {
	t.Parallel()
	answered := newServer(Config{}).queries()
	for _, def := range definitions.Defs {
		route := routes.At(def.Path)
		if route == nil {
			t.Errorf("%s is not a route", def.Path)
			continue
		}
		if _, ok := answered[route]; !ok && route.Stream == "" {
			t.Errorf("nothing answers at %s", def.Path)
		}
		delete(answered, route)
		if def.Description == "" || def.Output == nil || len(def.Errors) == 0 {
			t.Errorf("%s lacks a description, an output or its errors", def.Path)
		}
		if def.Parameters == nil {
			continue
		}
		for _, p := range def.Parameters.Properties {
			if p.Description == "" {
				t.Errorf("%s: %s has no description", def.Path, p.Name)
			}
			if p.Type == "integer" && (p.Minimum == nil || p.Maximum == nil || p.Default == nil) {
				t.Errorf("%s: %s lacks a bound or a default", def.Path, p.Name)
			}
			if p.Type == "array" && p.MaxLength == 0 {
				t.Errorf("%s: %s may be given any number of times", def.Path, p.Name)
			}
		}
		for _, name := range def.Parameters.Required {
			if def.Param(name) == nil {
				t.Errorf("%s requires %s, which it doesn't define", def.Path, name)
			}
		}
		if cursor := def.Param("cursor"); cursor != nil && route.Stream == "" && cursor.MaxLength != maxCursor {
			t.Errorf("%s: a cursor has up to %d bytes, not %d", def.Path, maxCursor, cursor.MaxLength)
		}
	}
	for route := range answered {
		t.Errorf("%s is answered and nowhere defined: add its definition to api/lexicons", route.Path)
	}
}

// right returns a valid query of each route.
func right(def *lexicons.Def) url.Values {
	v := url.Values{}
	if def.Parameters == nil {
		return v
	}
	for _, name := range def.Parameters.Required {
		switch name {
		case "subject", "target":
			v.Set(name, post)
		case "source":
			v.Set(name, like)
		case "collection":
			v.Set(name, "app.bsky.feed.like")
		case "did":
			v.Set(name, alice)
		default:
			v.Set(name, ".subject.uri")
		}
	}
	if def.Param("host") != nil { // one of three
		v.Set("subject", post)
	}
	return v
}

// TestEveryParameterWrong: each parameter of each route, invalid in every way that its definition excludes, is a 400
// that begins with its name. So each parameter is read.
func TestEveryParameterWrong(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	for _, def := range definitions.Defs {
		if def.Parameters == nil || def.Method() != "GET" {
			continue
		}
		if routes.At(def.Path).Stream == "" {
			get(t, h, def.Path+"?"+right(def).Encode())
		}
		for _, p := range def.Parameters.Properties {
			for what, raw := range wrongWays(def, p) {
				t.Run(def.Path+" "+p.Name+" "+what, func(t *testing.T) {
					t.Parallel()
					q := right(def)
					q.Del(p.Name)
					w := do(h, "GET", def.Path+"?"+q.Encode()+raw)
					if message := dig(t, w.Body.String(), "message"); w.Code != 400 || !strings.HasPrefix(message, "\"`"+p.Name+"` ") {
						t.Errorf("%d %.300s", w.Code, w.Body)
					}
				})
			}
		}
	}
}

// wrongWays returns invalid forms of a parameter, each as a suffix for a query without it.
func wrongWays(def *lexicons.Def, p lexicons.Property) map[string]string {
	give := func(values ...string) string {
		var b strings.Builder
		for _, v := range values {
			b.WriteString("&" + p.Name + "=" + v)
		}
		return b.String()
	}
	good := right(def).Get(p.Name)
	ways := map[string]string{
		"bad escape":  give("%zz"),
		"half escape": give("at%2"),
		"not UTF-8":   give("https://example.com/%ff"),
		"raw bytes":   give("https://example.com/\xff"),
		"NUL":         give("https://example.com/%00"),
	}
	inner := p.Schema
	if p.Type == "array" {
		inner = *p.Items
		var many []string
		for i := range p.MaxLength + 1 {
			switch {
			case inner.Format == "uri", inner.Format == "did":
				many = append(many, fmt.Sprintf("did:plc:n%d", i))
			case inner.Format == "nsid":
				many = append(many, fmt.Sprintf("a.b.c%d", i))
			default:
				many = append(many, fmt.Sprintf("a.b.c:n%d", i))
			}
		}
		ways["too many"] = give(many...)
	} else {
		ways["twice"] = give(good, good)
		if p.Name != "from_dids" { // a list, for which an empty value is no filter
			ways["empty"] = give("")
			ways["no ="] = "&" + p.Name
		}
		if def.Requires(p.Name) {
			ways["missing"] = ""
		}
	}
	switch inner.Type {
	case "integer":
		for _, v := range []string{"-1", "+1", "0x1", "1.5", "1e2", "x", "%20", "99999999999999999999999",
			fmt.Sprint(*inner.Maximum + 1), fmt.Sprint(*inner.Minimum - 1)} {
			ways["number "+v] = give(url.QueryEscape(v))
		}
	case "boolean":
		for _, v := range []string{"1", "yes", "TRUE", "True", "false "} {
			ways["flag "+v] = give(url.QueryEscape(v))
		}
	case "string":
		if inner.MaxLength > 0 {
			ways["too long"] = give("https://example.com/" + strings.Repeat("x", inner.MaxLength))
		}
	}
	switch inner.Format {
	case "did", "uri", "nsid":
		for _, v := range []string{"hello", "did:", "did:plc:", "at://", "alice.example.com!", "../etc/passwd"} {
			ways[inner.Format+" "+v] = give(url.QueryEscape(v))
		}
	case "datetime":
		for _, v := range []string{"yesterday", "2026", "2026-07-01", "2026-07-01T00:00:00", "2026-13-01T00:00:00Z",
			"1969-12-31T23:59:59Z", "99999-01-01T00:00:00Z", "1751328000"} {
			ways["time "+v] = give(url.QueryEscape(v))
		}
	}
	return ways
}

// TestReference: docs/reference.md matches the definitions.
func TestReference(t *testing.T) {
	t.Parallel()
	const file = "../docs/reference.md"
	if *update {
		if err := os.WriteFile(file, []byte(markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != markdown() {
		t.Errorf("%s is not what the definitions say: go test ./api -run TestReference -update writes it anew", file)
	}
}

// TestDocuments: the served documents match their sources, and all references in the OpenAPI document resolve.
func TestDocuments(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	var list struct{ Lexicons []string }
	if err := json.Unmarshal([]byte(get(t, h, "/lexicons")), &list); err != nil ||
		len(list.Lexicons) != len(definitions.Files) {
		t.Fatalf("%d of %d lexicons, %v", len(list.Lexicons), len(definitions.Files), err)
	}
	for _, id := range list.Lexicons {
		if got := get(t, h, "/lexicons/"+id); got != string(definitions.Files[id]) ||
			get(t, h, "/lexicons/"+id+".json") != got {
			t.Errorf("%s is served otherwise: %s", id, got)
		}
	}
	if w := do(h, "GET", "/lexicons/com.example.nothing"); w.Code != 404 {
		t.Errorf("an unknown lexicon: %d", w.Code)
	}
	text := get(t, h, "/openapi.json")
	var doc struct {
		OpenAPI    string
		Paths      map[string]any
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatal(err)
	}
	for _, def := range definitions.Defs {
		if doc.Paths[def.Path] == nil {
			t.Errorf("%s is not in the OpenAPI document", def.Path)
		}
	}
	for _, m := range regexp.MustCompile(`"\$ref":"#/components/schemas/([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if doc.Components.Schemas[m[1]] == nil {
			t.Errorf("the OpenAPI document refers to %s, which it lacks", m[1])
		}
	}
	if names := strings.Join(slices.Sorted(slices.Values(list.Lexicons)), " "); !strings.Contains(names,
		"blue.microcosm.links.getBacklinks ") {
		t.Errorf("the lexicons are %s", names)
	}
}

// TestOpenAPI: each operation has the fields that generators and linters require, each answer has a type, and each
// schema is used.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	text := get(t, serve(Config{}), "/openapi.json")
	type operation struct {
		OperationID, Summary, Description string
		Tags                              []string
		Responses                         map[string]json.RawMessage
	}
	var doc struct {
		Servers    []struct{ URL string }
		Security   *[]any
		Tags       []struct{ Name, Description string }
		Paths      map[string]map[string]operation
		Components struct{ Schemas, Responses map[string]any }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Servers) != 1 || doc.Servers[0].URL != "/" || doc.Security == nil || len(*doc.Security) != 0 {
		t.Errorf("servers %v, security %v", doc.Servers, doc.Security)
	}
	tagged := map[string]int{}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for _, op := range methods {
			if op.Summary == "" || len(op.Summary) > 120 || strings.HasSuffix(op.Summary, ".") || op.Description == "" ||
				len(op.Tags) != 1 || ids[op.OperationID] {
				t.Errorf("%s: %+v", path, op)
			}
			for _, code := range []string{"200", "400", "429", "500", "503"} {
				if op.Responses[code] == nil {
					t.Errorf("%s has no %s", path, code)
				}
			}
			ids[op.OperationID] = true
			tagged[op.Tags[0]]++
			if ok := string(op.Responses["200"]); strings.Contains(ok, `"links":{"type":"object"}`) {
				t.Errorf("%s has an answer without a type: %s", path, ok)
			}
		}
	}
	for _, tag := range doc.Tags {
		if tagged[tag.Name] == 0 || tag.Description == "" {
			t.Errorf("the tag %s: %d operations, %q", tag.Name, tagged[tag.Name], tag.Description)
		}
		delete(tagged, tag.Name)
	}
	if len(tagged) > 0 {
		t.Errorf("tags without a description: %v", tagged)
	}
	for name := range doc.Components.Schemas {
		if !strings.Contains(text, `"$ref":"#/components/schemas/`+name+`"`) {
			t.Errorf("nothing refers to the schema %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`"\$ref":"#/components/responses/([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if doc.Components.Responses[m[1]] == nil {
			t.Errorf("the document refers to the response %s, which it lacks", m[1])
		}
	}
}

// TestMethodsAreDocumented: each XRPC method has a heading in its section of docs/api.md.
func TestMethodsAreDocumented(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{"blue.microcosm.links": "\n## XRPC methods\n",
		"dev.weft.links": "\n## Methods of weft's own\n"}
	n := 0
	for _, def := range definitions.Defs {
		nsid, ok := strings.CutPrefix(def.Path, routes.Prefix)
		if !ok {
			continue
		}
		n++
		dot := strings.LastIndexByte(nsid, '.')
		_, section, _ := strings.Cut(string(document), sections[nsid[:dot]])
		section, _, _ = strings.Cut(section, "\n## ")
		if !regexp.MustCompile(`(?m)^### (.*, )?` + nsid[dot+1:] + `(,|$)`).MatchString(section) {
			t.Errorf("docs/api.md has no heading for %s", nsid)
		}
	}
	if n < 15 {
		t.Errorf("only %d methods", n)
	}
}

// TestFailuresAreDocumented: each failure in the code has a row in the table of errors of docs/api.md.
func TestFailuresAreDocumented(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(document), "\n## Errors\n")
	table, _, _ = strings.Cut(table, "\n## ")
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	statuses := map[string]int{"BadRequest": 400, "NotFound": 404, "MethodNotAllowed": 405, "RequestEntityTooLarge": 413,
		"UpgradeRequired": 426,
		"TooManyRequests": 429, "InternalServerError": 500, "NotImplemented": 501, "ServiceUnavailable": 503}
	made := regexp.MustCompile(`newFailure\(http\.Status(\w+),\s*"(\w+)"`)
	n := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made.FindAllStringSubmatch(string(source), -1) {
			n++
			row := regexp.MustCompile(fmt.Sprintf("(?m)^\\| %d \\| .*`%s`.* \\| .+ \\| .+ \\|$", statuses[m[1]], m[2]))
			if !row.MatchString(table) {
				t.Errorf("%s makes the failure %s, %s, which docs/api.md does not have", file, m[1], m[2])
			}
		}
	}
	if n < 14 {
		t.Errorf("only %d failures were found", n)
	}
}

func isStream(path string) bool {
	route := routes.At(path)
	return route != nil && route.Stream != ""
}
