package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCompletion: each script matches its golden file and names every command and every flag.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range shells {
		t.Run(shell.name, func(t *testing.T) {
			t.Parallel()
			code, script, stderr := weft(t.Context(), "completion", shell.name)
			if code != 0 || stderr != "" {
				t.Fatalf("code %d, %s", code, stderr)
			}
			path := filepath.Join("testdata", "completion."+shell.name)
			if *update {
				if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if script != string(want) {
				t.Errorf("%s differs: go test ./cmd/weft -run TestCompletion -update writes it", path)
			}
			for _, cmd := range commands(newRoot(io.Discard, io.Discard))[1:] {
				if !strings.Contains(script, cmd.Name) {
					t.Errorf("%s is not in the script", cmd.FullName())
				}
				for _, name := range flagNames(cmd) {
					if !strings.Contains(script, "--"+name) && !strings.Contains(script, " -l "+name) {
						t.Errorf("--%s of %s is not in the script", name, cmd.FullName())
					}
				}
			}
		})
	}
}

// TestFlagValues: each word of the table is suggested for some flag, and only if the help of the flag names it.
func TestFlagValues(t *testing.T) {
	t.Parallel()
	suggested := map[string][]string{}
	for _, c := range completedCommands(newRoot(io.Discard, io.Discard), "", "") {
		for _, f := range c.flags {
			if f.words != nil {
				suggested[f.name] = append(suggested[f.name], c.typed)
			}
		}
	}
	want := map[string][]string{"bodies": {"serve", "demo"}, "change-slice": {"serve"}, "format": {"export"},
		"from":       {"serve"},
		"log-format": {"serve"}, "log-level": {"serve", "demo"}, "replay-window": {"serve"}}
	if !maps.EqualFunc(suggested, want, slices.Equal) || len(want) != len(flagValues) {
		t.Errorf("%v, want %v", suggested, want)
	}
}

// TestBashCompletion asks bash, if it is installed, for suggestions.
func TestBashCompletion(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no bash here: the golden file has the script")
	}
	_, script, _ := weft(t.Context(), "completion", "bash")
	dir := t.TempDir()
	for _, name := range []string{"a data", "litestream.yml"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		line []string // words as bash splits them; the cursor is at the last
		want string
	}{
		{"commands", []string{"weft", "st"}, "status|stats"},
		{"flags of weft", []string{"weft", "--v"}, "--version"},
		{"flags of a command", []string{"weft", "serve", "--repli"}, "--replicate|--replica-alarm"},
		{"a word of a flag", []string{"weft", "serve", "--bodies", ""}, "off|window|keep"},
		{"a word of a flag with =", []string{"weft", "serve", "--log-level", "=", "w"}, "warn"},
		{"the = alone", []string{"weft", "export", "--format", "="}, "ndjson|parquet"},
		{"behind a value", []string{"weft", "stats", "--data", "a data", "--he"}, "--help"},
		{"a value that is a command", []string{"weft", "stats", "--data", "serve", "--da"}, "--data"},
		{"a directory", []string{"weft", "stats", "--data", "a"}, "a data"},
		{"a file", []string{"weft", "restore", "--config", "lite"}, "litestream.yml"},
		{"a command beneath another", []string{"weft", "replica", "l"}, "list"},
		{"its flags", []string{"weft", "replica", "list", "--j"}, "--json"},
		{"a value that no list has", []string{"weft", "serve", "--listen", ""}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "--noprofile", "-c", script + `
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft 2>/dev/null; IFS='|'; printf '%s' "${COMPREPLY[*]}"`, "bash"},
				tc.line...)...)
			cmd.Dir = dir
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Run(); err != nil || out.String() != tc.want {
				t.Errorf("%q, %v, want %q", out.String(), err, tc.want)
			}
		})
	}
}
