package routes_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
)

const root = "../.."

// literal is a string in non-test code, or the tag of a struct field.
type literal struct {
	file string // relative to the root
	text string
	tag  bool
	at   token.Position
}

// literals returns the strings of all non-test Go files below dirs.
func literals(t *testing.T, dirs ...string) []literal {
	t.Helper()
	var all []literal
	set := token.NewFileSet()
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ImportSpec:
					return false
				case *ast.Field:
					if n.Tag != nil {
						text, _ := strconv.Unquote(n.Tag.Value)
						all = append(all, literal{name, text, true, set.Position(n.Pos())})
						n.Tag = nil
					}
				case *ast.BasicLit:
					if n.Kind == token.STRING {
						text, _ := strconv.Unquote(n.Value)
						all = append(all, literal{name, text, false, set.Position(n.Pos())})
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestRoutesAreStatedOnce: every lexicon has a route, and only this package spells the path or the name of a route, so
// that everything that depends on a route is derived from the table. Sentences for people may name paths.
func TestRoutesAreStatedOnce(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	cursors := map[byte]string{}
	for _, def := range lexicons.Load().Defs {
		route := routes.At(def.Path)
		if route == nil {
			t.Errorf("%s has a lexicon and no route", def.Path)
			continue
		}
		if pages := def.Param("cursor") != nil && route.Stream == ""; pages != (route.Cursor > 0) {
			t.Errorf("%s has the number %d in cursors, and pages: %v", def.Path, route.Cursor, pages)
		}
		if def.ID != "" {
			names[def.ID[strings.LastIndexByte(def.ID, '.')+1:]] = true
		}
	}
	for _, r := range routes.All {
		other := cursors[r.Cursor]
		if r.Cursor > 0 && other != "" && r != routes.GetDistinct { // the second name of getBacklinkDids
			t.Errorf("%s and %s have the same number in cursors", r.Path, other)
		}
		cursors[r.Cursor] = r.Path
	}
	for _, l := range literals(t, "api", "web", "client", "cmd") {
		// web/handles reads documents of other services.
		if l.file == "api/routes/routes.go" || l.tag || strings.HasPrefix(l.file, "web/handles/") {
			continue
		}
		path, _, _ := strings.Cut(l.text, "?")
		prose := strings.Contains(l.text, " ")
		if strings.Contains(l.text, routes.Prefix) || names[l.text] || path != routes.Index.Path && routes.At(path) != nil &&
			!prose {
			t.Errorf("%s: %q spells a route: use its variable in package routes", l.at, l.text)
		}
	}
}

// ownJSON lists the files with JSON that isn't an answer of the API.
var ownJSON = []string{
	"api/conformance/conformance.go", // the fixture
	"web/answer.go",                  // additional members of an error page
	"web/livefeed.go",                // the events of the first page
	"cmd/weft/exportdir.go",          // the manifest of an export
	"cmd/weft/control.go",            // answers between processes of weft
}

// TestJSONIsStatedOnce: the code of the API, the pages, the client and the commands uses package wire for all answers
// of the API.
func TestJSONIsStatedOnce(t *testing.T) {
	t.Parallel()
	for _, l := range literals(t, "api", "web", "client", "cmd") {
		owner := strings.HasPrefix(l.file, "api/wire/") || strings.HasPrefix(l.file, "api/lexicons/") ||
			slices.Contains(ownJSON, l.file)
		owner = owner || strings.HasPrefix(l.file, "web/handles/") // DID documents of other services
		if _, ok := reflect.StructTag(l.text).Lookup("json"); l.tag && ok && !owner {
			t.Errorf("%s: a type of JSON outside of package wire: %s", l.at, l.text)
		}
	}
}

var metricName = regexp.MustCompile(`^weft_[a-z0-9_]+$`)

// TestMetricsAreStatedOnce: the name of a metric occurs once in the code.
func TestMetricsAreStatedOnce(t *testing.T) {
	t.Parallel()
	first := map[string]token.Position{}
	for _, l := range literals(t, "api", "web", "cmd", "db", "ingest") {
		if l.tag || !metricName.MatchString(l.text) {
			continue
		}
		if at, ok := first[l.text]; ok {
			t.Errorf("%s is stated at %s and at %s", l.text, at, l.at)
		}
		first[l.text] = l.at
	}
	if len(first) < 40 {
		t.Errorf("only %d metrics were found", len(first))
	}
}
