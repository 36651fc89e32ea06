package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
)

// smallIndex makes a data directory with a few likes of one post.
func smallIndex(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var events []apply.Event
	for i := range 5 {
		events = append(events, apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000 + int64(i), Op: db.OpCreate,
			DID: fmt.Sprintf("did:plc:%024d", i), Collection: "app.bsky.feed.like", Rkey: "3m2qrrgw22222", Rev: "3mdtsyunhbu22",
			Links: []db.Link{{Path: "subject.uri", Target: "https://example.com/"}}})
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheckCommand(t *testing.T) {
	t.Parallel()
	clean, damaged, open := smallIndex(t), smallIndex(t), smallIndex(t)
	base, err := sql.Open("sqlite", "file:"+filepath.Join(damaged, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := base.Exec("INSERT INTO actors (id, did) SELECT 6, did FROM actors WHERE id = 2"); err != nil {
		t.Fatal(err)
	}
	if err := base.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := db.Open(db.Config{Dir: open})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tc := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // in it
	}{
		{"clean", []string{"--data", clean}, 0, "No problem.", "checking"},
		{"clean, all", []string{"--data", clean, "--all"}, 0, ", full check:", ""},
		{"a seed", []string{"--data", clean, "--seed=7"}, 0, "--seed 7 repeats it", ""},
		{"damaged", []string{"--data", damaged}, 1,
			"name: account did:plc:000000000000000000000001 has two rows, 2 and 6 → restore weft.db", "problem"},
		{"no index", []string{"--data", t.TempDir()}, 1, "", "there is no weft.db in it"},
		{"a weft runs", []string{"--data", open, "--all"}, 0, "No problem.", ""},
		{"an argument too many", []string{clean}, 2, "", "check takes no argument"},
		{"no sample", []string{"--data", clean, "--sample=0"}, 2, "", "--sample must be 1 or more"},
		{"all, and a sample", []string{"--data", clean, "--all", "--sample=5"}, 2, "", "remove --sample"},
		{"a flag that is none", []string{"--fix"}, 2, "", "weft check --help"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := weft(t.Context(), append([]string{"check"}, tc.args...)...)
			if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}

// TestPrintReport: each problem is one line with its repair, and the problems beyond the list are counted.
func TestPrintReport(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	printReport(&out, "./weft-data", &check.Report{Seed: 5, Total: 1234567,
		Kinds:   map[string]int64{"link": 1234566, "segment": 1},
		Checked: []check.Checked{{What: "segments", N: 12, How: "each file's checksum, its range and its sums"}},
		Left:    []string{"the index: restore the segments first"},
		Notes:   []string{"segments/1-2-X.weft is not in the manifest: left by a crash"},
		Problems: []check.Problem{{Kind: "segment", Text: "segment 3-4-Y.weft is\nmissing",
			Mend: "restore the file from the replica"}},
	})
	const want = `./weft-data, sample (--seed 5 repeats it; --all checks everything):

  segments                         12  each file's checksum, its range and its sums
  not checked: the index: restore the segments first
  note: segments/1-2-X.weft is not in the manifest: left by a crash

1,234,567 problems (link: 1,234,566, segment: 1)

  segment: segment 3-4-Y.weft is missing → restore the file from the replica
  … and 1,234,566 more
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}
