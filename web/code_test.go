package web

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft.dev/weft/api/lexicons"
)

// hostile is what a visitor may write into any field, or find in a record.
const hostile = "at://did:plc:x/a.b.c/'\"`</pre><script>alert(1)</script>\" onerror=\"alert(2)\\\u202e\u2028${x}$(y)%zz#&\x01"

// filled is a method's parameters, each with a value or several.
func filled(def *lexicons.Def, odd string) url.Values {
	v := url.Values{}
	if def.Parameters != nil {
		for _, p := range def.Parameters.Properties {
			one := "did:plc:alice"
			switch {
			case odd != "":
				one = odd
			case p.Type == "integer":
				one = "7"
			case p.Type == "boolean":
				one = "true"
			case p.Format == "datetime":
				one = "2026-07-01T12:00:00Z"
			case p.Type == "array":
				one = "did:plc:alice\n\n did:plc:bob "
			}
			v.Set(p.Name, one)
		}
	}
	if def.Input != nil {
		v.Set(bodyField, `{"pairs":[{"subject":"`+strings.ReplaceAll(odd, `"`, ``)+`","source":"a.b.c:d"}]}`)
	}
	return v
}

// compiler type-checks programs against the packages that they import, as the compiler has them.
func compiler(t *testing.T) func(t *testing.T, text string) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "weft.dev/weft/client", "github.com/coder/websocket",
		"bufio", "context", "encoding/json", "fmt", "io", "log", "net/http", "os", "strings", "time").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			files[path] = file
		}
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("%s is no package that a program may need", path)
		}
		return os.Open(files[path])
	})
	return func(t *testing.T, text string) {
		t.Helper()
		file, err := parser.ParseFile(fset, "main.go", text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if _, err := (&types.Config{Importer: imports}).Check("main", fset, []*ast.File{file}, nil); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
}

// TestCode: the Go of every method compiles, with all parameters, with those that are required, and with hostile ones, which then
// stand in it as the text that they are. Every method that a client has is called by it.
func TestCode(t *testing.T) {
	t.Parallel()
	compile := compiler(t)
	s := serving(t, nil)
	called := map[string]bool{}
	for _, def := range definitions.Defs {
		required := url.Values{}
		for name, values := range filled(def, "") {
			if def.Requires(name) || name == bodyField {
				required[name] = values
			}
		}
		for what, given := range map[string]url.Values{"all": filled(def, ""), "required": required, "hostile": filled(def, hostile)} {
			t.Run(nameOf(def)+" "+what, func(t *testing.T) {
				q := s.questionOf(context.Background(), def, given)
				snippets := code(def, "https://weft.example", q)
				if len(snippets) != 3 {
					t.Fatalf("%d languages", len(snippets))
				}
				program := snippets[1].Text
				if what != "hostile" || !strings.Contains(program, "weft/client") { // a number that is none is refused by the compiler
					compile(t, program)
				}
				if strings.Contains(program, "weft/client") {
					called[def.Path] = true
				}
				for _, sn := range snippets {
					if strings.ContainsAny(sn.Text, "\x01\u202e\u2028") {
						t.Errorf("%s has what can't be seen:\n%q", sn.Language, sn.Text)
					}
				}
				if what == "hostile" && def.Parameters != nil {
					inShell(t, snippets[0].Text)
				}
			})
		}
	}
	for route := range clientCalls {
		path := route.Path
		if definitions.At(path) == nil {
			t.Errorf("there is no %s", path)
		}
		if !called[path] {
			t.Errorf("the client is never called for %s", path)
		}
	}
}

// inShell lets a shell read a command: it must be what it looks like, one command whose address is one word.
func inShell(t *testing.T, command string) {
	t.Helper()
	name, rest, _ := strings.Cut(command, " ")
	script := name + `() { for a in "$@"; do printf '%s\n' "$a"; done; }` + "\n" + name + " " + rest
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, command)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if !slices.ContainsFunc(lines, func(l string) bool {
		u, err := url.Parse(l)
		return err == nil && u.Host == "weft.example"
	}) || bytes.Contains(out, []byte("not found")) {
		t.Errorf("a shell reads %q of\n%s", lines, command)
	}
}

// TestTypeScript: texts stand in literals that end where they should.
func TestTypeScript(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"plain", "it's", `a"b`, `back\slash`, hostile, "line\nbreak", "</script>"} {
		got := tsText(text)
		inner := got[1 : len(got)-1]
		if got[0] == '\'' {
			if strings.ContainsAny(inner, "'\\\n") {
				t.Errorf("%q is %s", text, got)
			}
			continue
		}
		if back, err := strconv.Unquote(strings.ReplaceAll(got, `\/`, `/`)); err != nil || back != text {
			t.Errorf("%q is %s: %q, %v", text, got, back, err)
		}
	}
}
