package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// faultsFiles are where the faults are, from the root of the module.
var faultsFiles = []string{"db/mutate/faultsapply.go", "db/mutate/faultsindex.go"}

// splitTest returns the package of the fault's test, as the go command takes it, and its name.
func (f *fault) splitTest() (in, name string) {
	dot := strings.LastIndexByte(f.test, '.')
	return "./" + f.test[:max(dot, 0)], f.test[dot+1:]
}

// testExists reports whether the fault's test is in its package. It reads the package's files. root is the module's
// directory.
func (f *fault) testExists(root string) bool {
	in, name := f.splitTest()
	files, err := filepath.Glob(filepath.Join(root, in, "*_test.go"))
	return err == nil && slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains("\n"+string(text), "\nfunc "+name+"(")
	})
}

// writeTests writes the tests that caught faults into the file of the faults, where they name others or none. The last
// field of a fault is its test.
func writeTests(path string, results []result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, text, 0)
	if err != nil {
		return err
	}
	caught := map[string]string{} // by the fault's name
	for _, r := range results {
		if r.by != "" {
			caught[strconv.Quote(r.name)] = r.by
		}
	}
	fields := []*ast.BasicLit{} // to write
	by := []string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		c, ok := n.(*ast.CompositeLit)
		if !ok || len(c.Elts) != 5 || c.Type != nil {
			return true
		}
		name, isText := c.Elts[0].(*ast.BasicLit)
		last, isAlso := c.Elts[4].(*ast.BasicLit)
		if isText && isAlso && caught[name.Value] != "" {
			fields = append(fields, last)
			by = append(by, caught[name.Value])
		}
		return false
	})
	for i, field := range slices.Backward(fields) {
		at := files.Position(field.Pos()).Offset
		text = slices.Replace(text, at, at+len(field.Value), []byte(strconv.Quote(by[i]))...)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write the tests: %w", err)
	}
	return nil
}
