package main

import (
	"strings"
	"testing"

	"weft.dev/weft/db/dbtest"
)

// TestLogCommand: weft log prints the newest rows, or those from a row on, and changes nothing.
func TestLogCommand(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	for _, tc := range []struct {
		name       string
		args       []string
		code, rows int
		want       string
	}{
		{"the newest", nil, 0, 10, `{"seq":1102,`},
		{"from a row", []string{"--from", "7", "--limit", "3"}, 0, 3, `{"seq":7,`},
		{"behind the log", []string{"--from", "5000"}, 0, 0, ""},
		{"no number", []string{"--from", "x"}, 2, 0, ""},
		{"an argument too many", []string{"7"}, 2, 0, ""},
	} {
		code, stdout, stderr := weft(t.Context(), append([]string{"log", "--data", dir}, tc.args...)...)
		if code != tc.code || strings.Count(stdout, "\n") != tc.rows || !strings.HasPrefix(stdout, tc.want) ||
			(code == 0) != (stderr == "") {
			t.Errorf("%s: code %d, %q, %q", tc.name, code, stdout, stderr)
		}
	}
	code, _, stderr := weft(t.Context(), "log", "--data", t.TempDir())
	if code != 1 || !strings.Contains(stderr, "there is no weft.db") {
		t.Errorf("an empty directory: code %d, %q", code, stderr)
	}
}
