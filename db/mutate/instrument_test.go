package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstrument: a function with a fault begins with its body with the fault, for the environment to select, and goes
// on as it was.
func TestInstrument(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go": "package a\n\nfunc (t *T) f(n int) (sum int, err error) {\n\tsum = n + 1\n\treturn sum, nil\n}\n\n" +
			"func g() {\n\th()\n}\n\nvar k = func(a, b int) bool { return a < b }\n",
		"b/b.go": "package b\n\nfunc f() int { return 1 }\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := instrument(dir, map[int]fault{
		1: {file: "a.go", old: "n + 1", new: "n + 2"},
		2: {file: "a.go", old: "\th()", new: "\t_ = h"},
		3: {file: "a.go", old: "a < b }", new: "a > b }"},
		4: {file: "a.go", old: "sum, nil", new: "0, nil"},
		7: {file: "b/b.go", old: "1", new: "2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a.go": "package a\n\nfunc (t *T) f(n int) (sum int, err error) {" +
			" if selectedFault == 4 { return func() (sum int, err error) {\n\tsum = n + 1\n\treturn 0, nil\n}() };" +
			" if selectedFault == 1 { return func() (sum int, err error) {\n\tsum = n + 2\n\treturn sum, nil\n}() };" +
			"\n\tsum = n + 1\n\treturn sum, nil\n}\n\n" +
			"func g() { if selectedFault == 2 { func() {\n\t_ = h\n}(); return };\n\th()\n}\n\n" +
			"var k = func(a, b int) bool { if selectedFault == 3 { return func() bool { return a > b }() }; return a < b }\n",
		"b/b.go": "package b\n\nfunc f() int { if selectedFault == 7 { return func() int { return 2 }() }; return 1 }\n",
	}
	for name, text := range want {
		if changed[name] != text {
			t.Errorf("%s is\n%s\nwant\n%s", name, changed[name], text)
		}
	}
	for name, pkg := range map[string]string{"selected_fault.go": "a", "b/selected_fault.go": "b"} {
		if !strings.HasPrefix(changed[name], "package "+pkg+"\n") {
			t.Errorf("%s is\n%s", name, changed[name])
		}
	}
	for name, text := range changed {
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, 0); err != nil {
			t.Error(err)
		}
	}
	_, err = instrument(dir, map[int]fault{1: {file: "a.go", old: "package a", new: "package b"}})
	if err == nil {
		t.Error("a fault outside of any function is instrumented")
	}
}
