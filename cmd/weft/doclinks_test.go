package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	docLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// TestDocumentLinks: each relative link in the documents leads to an existing file and to a heading in it.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"} {
		files = append(files, filepath.Join("../..", name))
	}
	text := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[file] = string(b)
	}
	for _, file := range files {
		for _, m := range docLink.FindAllStringSubmatch(text[file], -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, ":") {
				continue
			}
			path := file
			if to != "" {
				path = filepath.Join(filepath.Dir(file), to)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			}
			if anchor != "" && strings.HasSuffix(path, ".md") && !hasAnchor(text[path], anchor) {
				t.Errorf("%s links to %s, which has no such heading", file, m[1])
			}
		}
	}
}

// hasAnchor reports whether a Markdown text has a heading with this anchor, as code hosts derive anchors from headings.
func hasAnchor(text, anchor string) bool {
	for _, m := range docHeading.FindAllStringSubmatch(text, -1) {
		heading := notAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
		if strings.ReplaceAll(heading, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestReadmeIsShort: the README fits on two screens; details are in docs.
func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	words, lines := len(strings.Fields(string(b))), strings.Count(string(b), "\n")
	if words > 900 || lines > 150 {
		t.Errorf("the README has %d words and %d lines; 900 and 150 are its bounds", words, lines)
	}
}
