package web

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft.dev/weft/api/lexicons"
)

// hostile is text that a visitor may enter, or a record may contain.
const hostile = "at://did:plc:x/a.b.c/'\"`</pre><script>alert(1)</script>\" onerror=\"alert(2)\\\u202e\u2028${x}$(y)%zz#&\x01"

// filled returns a method's parameters with values.
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

// compileAll compiles programs, keyed by name, against the packages that they import. One run of the compiler takes all
// of them as files of one package, with a main function of a different name in each.
func compileAll(t *testing.T, programs map[string]string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f",
		"{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}",
		"weft.dev/weft/client", "github.com/coder/websocket", "bufio", "context", "encoding/json", "fmt", "io", "log",
		"net/http", "os", "strings", "time")
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "importcfg")
	if err := os.WriteFile(config, packages, 0o600); err != nil {
		t.Fatal(err)
	}
	// The compiler removes its output when it fails, so the output is a file of this test, not a device.
	args := []string{"tool", "compile", "-e", "-p", "main", "-importcfg", config, "-o", filepath.Join(dir, "main.a")}
	var sources strings.Builder
	for i, name := range slices.Sorted(maps.Keys(programs)) {
		const mainFunction = "func main() {"
		if n := strings.Count(programs[name], mainFunction); n != 1 {
			t.Errorf("%s has %d main functions:\n%s", name, n, programs[name])
			continue
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		text := strings.Replace(programs[name], mainFunction, fmt.Sprintf("func main%d() {", i), 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
		fmt.Fprintf(&sources, "%d.go, %s:\n%s\n", i, name, text)
	}
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s\n%s", err, out, sources.String())
	}
}

// TestCode: the Go code of every method compiles, with all parameters, with the required ones, and with hostile ones,
// which stay text. The code calls the client if the client has the method.
func TestCode(t *testing.T) {
	t.Parallel()
	programs := map[string]string{}
	s := serving(t, nil)
	called := map[string]bool{}
	for _, def := range definitions.Defs {
		required := url.Values{}
		for name, values := range filled(def, "") {
			if def.Requires(name) || name == bodyField {
				required[name] = values
			}
		}
		for what, given := range map[string]url.Values{"all": filled(def, ""), "required": required,
			"hostile": filled(def, hostile)} {
			t.Run(nameOf(def)+" "+what, func(t *testing.T) {
				q := s.questionOf(context.Background(), def, given)
				snippets := code(def, "https://weft.example", q)
				if len(snippets) != 3 {
					t.Fatalf("%d languages", len(snippets))
				}
				program := snippets[1].Text
				if what != "hostile" || !strings.Contains(program, "weft/client") { // an invalid number doesn't compile
					programs[t.Name()] = program
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
	compileAll(t, programs)
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

// inShell checks that a shell parses a command as one command whose address is one word.
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

// TestTypeScript: texts stay within their literals.
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
