package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFaultsFit: the old text of each fault stands in its file exactly once, and its new text is another.
func TestFaultsFit(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		text, err := os.ReadFile(filepath.Join("..", "..", f.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), f.old); n != 1 || f.old == f.new {
			t.Errorf("%s: %q stands in %s %d times", f.name, f.old, f.file, n)
		}
	}
}
