package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNearest: the suggestion is the name with the fewest typing errors, or the only one with the typed prefix; a word
// unlike all names gets none.
func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"serve", "status", "stats", "replica", "restore", "log-level", "log-format"}
	for typed, want := range map[string]string{
		"sevre": "serve", "serv": "serve", "statsu": "status", "statuss": "status", "replicate": "replica",
		"log-lvl": "log-level",
		"res":     "restore", "log": "", "ls": "", "backup": "", "": "", "s": "",
	} {
		if got := nearest(typed, names); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
}

// TestConfigurationMistakes: every mistake in the configuration has the exit code 2 and makes nothing on disk.
func TestConfigurationMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := write("other.yml", "dbs:\n  - path: "+dir+"/elsewhere/weft.db\n    replica: {type: file, path: "+dir+
		"/copy}\n")
	wrong := write("wrong.yml", "dbs:\n  - path: "+dir+"/data/weft.db\n    replica: {type: tape, path: /x}\n")
	data := filepath.Join(dir, "data")
	for _, tc := range []struct {
		name     string
		variable [2]string
		args     []string
		want     string
	}{
		{"a duration of days", [2]string{"WEFT_REPLAY_WINDOW", "1day"}, []string{"serve", "--data", data},
			"WEFT_REPLAY_WINDOW"},
		{"a number that is none", [2]string{"WEFT_CACHE", "much"}, []string{"serve", "--data", data}, "WEFT_CACHE"},
		{"a switch that is none", [2]string{"WEFT_CHECK_ALL", "perhaps"}, []string{"check", "--data", data},
			"WEFT_CHECK_ALL"},
		{"a viewer that is no address", [2]string{"WEFT_VIEWER", "pdsls.dev/{uri}"}, []string{"serve", "--data", data},
			"--viewer"},
		{"a viewer without a place for the record", [2]string{"WEFT_VIEWER", "https://pdsls.dev/"},
			[]string{"serve", "--data", data}, "{uri}"},
		{"a flag that is none", [2]string{"WEFT_DATA", data}, []string{"serve", "--replay-window", "1day"}, "1day"},
		{"a retention of months", [2]string{"WEFT_KEEP", "app.bsky.feed.like=90d, *=3months"},
			[]string{"serve", "--data", data},
			"at character 27: \"3months\" is no time: did you mean 3d or 3h?"},
		{"the database of another directory", [2]string{"WEFT_DATA", data}, []string{"serve", "--replicate", other},
			"make them the same"},
		{"a replica of no kind", [2]string{"WEFT_DATA", data}, []string{"serve", "--replicate", wrong}, "tape"},
		{"a replica of no kind, to restore", [2]string{"WEFT_DATA", data}, []string{"restore", "--config", wrong}, "tape"},
		{"a replica of no kind, to verify", [2]string{"WEFT_REPLICATE", wrong}, []string{"verify"}, "tape"},
		{"a replica of no kind, to list", [2]string{"WEFT_REPLICATE", wrong}, []string{"replica", "list"}, "tape"},
		{"a replica of no kind, to follow", [2]string{"WEFT_FOLLOW", wrong}, []string{"serve", "--data", data}, "tape"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv(tc.variable[0], tc.variable[1])
			code, _, stderr := weft(t.Context(), tc.args...)
			if code != 2 || !strings.Contains(stderr, tc.want) {
				t.Errorf("code %d, %s", code, stderr)
			}
			if _, err := os.Stat(data); !os.IsNotExist(err) {
				t.Errorf("the data directory was made: %v", err)
			}
		})
	}
}
