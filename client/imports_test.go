package client_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImports: the client and its shared packages import only the standard library and each other, so that a program
// with the client requires no module but this one.
func TestImports(t *testing.T) {
	t.Parallel()
	shared := []string{"weft.dev/weft/api/wire", "weft.dev/weft/api/routes"}
	for _, dir := range []string{".", "../api/wire", "../api/routes"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				first, _, _ := strings.Cut(path, "/")
				if strings.Contains(first, ".") && !slices.Contains(shared, path) {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
}

// TestInstallable: go.mod has no directive that makes "go install weft.dev/weft/cmd/weft@VERSION" fail.
func TestInstallable(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if strings.HasPrefix(line, "replace") || strings.HasPrefix(line, "exclude") {
			t.Errorf("go.mod: %s", line)
		}
	}
}
