package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"weft.dev/weft/db"
	"weft.dev/weft/db/inspect"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestStatsGolden compares the whole output, of an index with every figure and of an empty one, in 80 columns.
func TestStatsGolden(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file string
		in   inspect.Report
	}{
		{"stats-empty.txt", inspect.Report{Instance: "ABCDEFGHIJKLMNOP"}},
		{"stats-damaged.txt", inspect.Report{Instance: "ABCDEFGHIJKLMNOP", Links: 1, Records: 1, Uncounted: 2,
			Log: inspect.Log{Oldest: 1, Newest: 2, OldestUS: 1_770_000_000_000_000, NewestUS: 1_770_000_000_000_000,
				Unsealed: 2}}},
		{"stats.txt", inspect.Report{
			Instance: "ABCDEFGHIJKLMNOP", StartedUS: 1_770_000_000_000_000,
			Segments: []inspect.Segment{
				{Level: 2, FromSeq: 1, ToSeq: 18_000_000, Links: 19_200_000, Bytes: 883_200_000, Targets: 345_600_000,
					Records: 403_200_000, Names: 30_000_000},
				{Level: 1, FromSeq: 18_000_001, ToSeq: 20_250_000, Links: 2_400_000, Bytes: 110_400_000, Targets: 43_200_000,
					Records: 50_400_000, Names: 3_000_000},
				{Level: 0, FromSeq: 20_250_001, ToSeq: 20_531_250, Links: 300_000, Bytes: 13_800_000, Targets: 5_400_000,
					Records: 6_300_000, Names: 370_000},
				{Level: 0, FromSeq: 20_531_251, ToSeq: 20_812_500, Links: 299_000, Bytes: 13_700_000, Fault: "damaged"},
				{Level: 0, FromSeq: 20_812_501, ToSeq: 20_812_501, Links: 0, Bytes: 40_960},
			},
			Log: inspect.Log{Oldest: 18_000_001, Newest: 20_900_000, OldestUS: 1_770_000_000_000_000,
				NewestUS: 1_770_003_723_456_789, Links: 3_100_000, Unsealed: 87_499},
			Bodies: inspect.Bodies{Mode: db.BodiesKeep, Bodies: 17_400_000, Blocks: 17_398_765, Bytes: 2_400_000_000,
				Raw: 4_400_000_000},
			File: inspect.File{Bytes: 1_234_567_890, Free: 12_345_678, WAL: 4_152_992},
			Upstreams: []db.UpstreamInfo{{Host: "jetstream.us-east.bsky.network", Kind: "v2", Seq: 123_456_789_012,
				TimeUS: 1_770_003_723_456_789}},
			Links: 22_286_000, Records: 17_500_000, Actors: 4_300_000, Inactive: 81_000, Collections: 1_204, Sources: 5_017,
			Gaps: 2, Resyncs: 1, Jobs: 1, CompactionDue: true,
		}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			printStats(&out, &tc.in)
			path := filepath.Join("testdata", tc.file)
			if *update {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		})
	}
}

func TestStatsCommand(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // in it
	}{
		{"a directory", []string{"--data", smallIndex(t)}, 0, "5 rows, 1 to 5, with 5 links", ""},
		{"the total comes first", []string{"--data", smallIndex(t)}, 0, "5 links of 5 records, ", ""},
		{"no index", []string{"--data", t.TempDir()}, 1, "", "there is no weft.db in it"},
		{"an argument too many", []string{"x"}, 2, "", "stats takes no argument"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := weft(t.Context(), append([]string{"stats"}, tc.args...)...)
			if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}
