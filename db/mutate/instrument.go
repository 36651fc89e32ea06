package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// variable is the environment variable that selects a fault of an instrumented package by its number.
const variable = "WEFT_FAULT"

// selector is the file that each instrumented package gets.
const selector = `package %s

import (
	"os"
	"strconv"
)

var selectedFault, _ = strconv.Atoi(os.Getenv("` + variable + `"))
`

// instrument returns the changed files of the tree with all faults of Go files in them, by path from root. Each
// function with a fault begins with a copy of its body that has the fault, and runs the copy if the environment selects
// the fault. numbers are the numbers of the faults.
func instrument(root string, numbers map[int]fault) (map[string]string, error) {
	inserts := map[string][]insert{} // by file
	changed := map[string]string{}
	for _, number := range slices.Sorted(maps.Keys(numbers)) {
		f := numbers[number]
		text, err := os.ReadFile(filepath.Join(root, f.file))
		if err != nil {
			return nil, err
		}
		in, pkg, err := copyBody(string(text), &f, number)
		if err != nil {
			return nil, fmt.Errorf("the fault %q: %w", f.name, err)
		}
		inserts[f.file] = append(inserts[f.file], in)
		changed[f.file] = string(text)
		changed[filepath.Join(filepath.Dir(f.file), "selected_fault.go")] = fmt.Sprintf(selector, pkg)
	}
	for file, list := range inserts {
		// From the end, so that the offsets of the others stay. Those of one function follow each other.
		slices.SortStableFunc(list, func(a, b insert) int { return b.at - a.at })
		for _, in := range list {
			changed[file] = changed[file][:in.at] + in.text + changed[file][in.at:]
		}
	}
	return changed, nil
}

// insert is text that goes to an offset of a file.
type insert struct {
	at   int
	text string
}

// copyBody returns what to insert into a file for a fault, and the file's package.
func copyBody(text string, f *fault, number int) (in insert, pkg string, err error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, f.file, text, parser.SkipObjectResolution)
	if err != nil {
		return in, "", err
	}
	offset := func(p token.Pos) int { return files.Position(p).Offset }
	at := strings.Index(text, f.old)
	var of *ast.FuncType // the outermost function around the fault
	var body *ast.BlockStmt
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			of, body = around(of, body, n.Type, n.Body, offset, at, at+len(f.old))
		case *ast.FuncLit:
			of, body = around(of, body, n.Type, n.Body, offset, at, at+len(f.old))
		}
		return body == nil
	})
	if body == nil {
		return in, "", fmt.Errorf("%s: no function is around it", f.file)
	}
	open := offset(body.Lbrace)
	faulty := strings.Replace(text[open:offset(body.Rbrace)+1], f.old, f.new, 1)
	in.at = open + 1
	if of.Results == nil {
		in.text = fmt.Sprintf(" if selectedFault == %d { func() %s(); return };", number, faulty)
	} else {
		results := text[offset(of.Results.Pos()):offset(of.Results.End())]
		in.text = fmt.Sprintf(" if selectedFault == %d { return func() %s %s() };", number, results, faulty)
	}
	return in, parsed.Name.Name, nil
}

// around returns the function if it is around a span of the file, and the one that was found before if it is not.
func around(was *ast.FuncType, wasBody *ast.BlockStmt, of *ast.FuncType, body *ast.BlockStmt,
	offset func(token.Pos) int, from, to int,
) (*ast.FuncType, *ast.BlockStmt) {
	if wasBody != nil || body == nil || offset(body.Lbrace) > from || offset(body.Rbrace)+1 < to {
		return was, wasBody
	}
	return of, body
}
