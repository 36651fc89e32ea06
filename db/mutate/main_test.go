package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var root = filepath.Join("..", "..")

// TestFaultsFit: the old text of each fault stands in its file exactly once, its new text is another, its name is its
// own, and the test that it names exists.
func TestFaultsFit(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, f := range faults {
		if err := f.fits(root); err != nil {
			t.Error(err)
		}
		if !f.testExists(root) {
			t.Errorf("the fault %q names the test %q, which does not exist", f.name, f.test)
		}
		if names[f.name] {
			t.Errorf("two faults have the name %q", f.name)
		}
		names[f.name] = true
	}
}

func TestWriteTests(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "faults.go")
	before := "package main\n\nvar faults = []fault{\n\t{\n\t\t\"a\", \"a.go\",\n\t\t`1`, \"2\",\n\t\t\"\",\n\t},\n\t" +
		"{\n\t\t\"b\", \"b.go\",\n\t\t\"1\", \"2\",\n\t\t\"db.TestB\",\n\t},\n\t{\"c\", \"c.go\", \"1\", \"2\", \"db.TestC\"},\n}\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	results := []result{
		{fault: fault{name: "a"}, by: "db/apply.TestA"},
		{fault: fault{name: "b"}, by: "db.TestOther"},
		{fault: fault{name: "c"}}, // it survived
	}
	if err := writeTests(path, results); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`"",`, `"db/apply.TestA",`, "db.TestB", "db.TestOther").Replace(before)
	if string(after) != want {
		t.Errorf("wrote\n%s\nwant\n%s", after, want)
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, test, by string
		isProblem      bool
	}{
		{"caught by its test", "db.TestA", "db.TestA", false},
		{"caught by another", "db.TestA", "db/apply.TestA", true},
		{"names none", "", "db.TestA", true},
		{"survived", "db.TestA", "", true},
	} {
		r := result{fault: fault{test: tc.test}, by: tc.by}
		if got := r.problem(); got != "" != tc.isProblem {
			t.Errorf("%s: the problem is %q", tc.name, got)
		}
	}
}
