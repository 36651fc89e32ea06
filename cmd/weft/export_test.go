package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/export"
)

// TestExportGolden compares the lines for hostile text and hidden accounts with a golden file.
func TestExportGolden(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file, data string
		args       []string
	}{
		{"export.ndjson", hostileIndex(t), []string{"--inactive"}},
		{"export-bodies.ndjson", bodiesIndex(t), []string{"--inactive", "--bodies", "--to=did:plc:bobbbbbbbbbbbbbbbbbbbbbb"}},
		{"export-hidden.ndjson", bodiesIndex(t), []string{"--inactive", "--bodies", "--from=did:web:carol.example"}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := weft(t.Context(), append([]string{"export", "--data", tc.data}, tc.args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("code %d, %s", code, stderr)
			}
			path := filepath.Join("testdata", tc.file)
			if *update {
				if err := os.WriteFile(path, []byte(stdout), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if stdout != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", stdout, want)
			}
		})
	}
}

// TestExportFormats: each format has the same rows, with hostile text unchanged and without hidden accounts.
func TestExportFormats(t *testing.T) {
	t.Parallel()
	data := hostileIndex(t)
	rows := exportAll(t, data)
	if len(rows) != 7 || slices.ContainsFunc(rows, func(r row) bool { return r.Status != "active" }) {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	for _, path := range []string{`quote".back\slash`, "line\nbreak\ttab\x00nul", "line\u2028separator",
		"snow☃.\U0001F9F5", "<html>&"} {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.Path == path }) {
			t.Errorf("no row has the path %q", path)
		}
	}
	all := exportAll(t, data, "--inactive")
	for format := range formats {
		for _, tc := range []struct {
			args []string
			want []row
		}{{nil, rows}, {[]string{"--inactive"}, all}, {[]string{"--part-links=1"}, rows},
			{[]string{"--part-links=6"}, rows}} {
			out := filepath.Join(t.TempDir(), "new", "out")
			code, stdout, stderr := weft(t.Context(),
				append([]string{"export", "--data", data, "--format", format, "--out", out}, tc.args...)...)
			if code != 0 || stderr != "" || !strings.HasPrefix(stdout, out+" has ") {
				t.Fatalf("code %d, %s, %s", code, stdout, stderr)
			}
			if got, list := rowsOfDir(t, out); !slices.Equal(got, tc.want) || !list.Complete {
				t.Errorf("%s %v: %+v", format, tc.args, got)
			}
		}
	}
}

// TestExportBodies: with --bodies, each link has the content of its record, in each format, if the index has it.
func TestExportBodies(t *testing.T) {
	t.Parallel()
	data := bodiesIndex(t)
	with, all, without := exportAll(t, data, "--bodies"), exportAll(t, data, "--bodies", "--inactive"), exportAll(t, data)
	var got []string
	plain := slices.Clone(all)
	for i, r := range all {
		if r.Record != "" && !json.Valid([]byte(r.Record)) {
			t.Errorf("%s of %s is no JSON", r.Record, r.Rkey)
		}
		got = append(got, fmt.Sprintf("%s %t %t", r.Rkey, r.CID != "", len(r.Record) > 0))
		plain[i].CID, plain[i].Record = "", ""
	}
	if want := []string{"float true false", "hostile true true", "several true true", "several true true",
		"unknown false false",
		"large true true", "large true true", "hidden true true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, not %q", got, want)
	}
	if !slices.Equal(with, all[:7]) || !slices.Equal(without, plain[:7]) {
		t.Errorf("%d rows with bodies, %d without, %d with those of inactive accounts", len(with), len(without), len(all))
	}
	for format := range formats {
		for _, tc := range []struct {
			args []string
			want []row
		}{{nil, without}, {[]string{"--bodies"}, with}, {[]string{"--bodies", "--part-links=2"}, with},
			{[]string{"--bodies", "--inactive"}, all}} {
			out := filepath.Join(t.TempDir(), "out")
			code, _, stderr := weft(t.Context(),
				append([]string{"export", "--data", data, "--format", format, "--out", out}, tc.args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("code %d, %s", code, stderr)
			}
			if got, list := rowsOfDir(t, out); !slices.Equal(got, tc.want) || !list.Complete || list.BodiesFrom > 1 ||
				(list.BodiesFrom == 1) != (tc.args != nil) {
				t.Errorf("%s %v, from %d: %+v", format, tc.args, list.BodiesFrom, got)
			}
		}
	}
}

// TestExportCommand: arguments with their exit codes and outputs.
func TestExportCommand(t *testing.T) {
	t.Parallel()
	data, open := hostileIndex(t), smallIndex(t)
	s, err := db.Open(db.Config{Dir: open})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		lines  int    // in stdout
		stderr string // in it
	}{
		{"all that queries show", []string{"--data", data}, 0, 7, ""},
		{"hidden accounts too", []string{"--data", data, "--inactive"}, 0, 8, ""},
		{"a collection", []string{"--data", data, "--collection=app.bsky.feed.like"}, 0, 2, ""},
		{"two collections", []string{"--data", data, "--collection=app.bsky.feed.like", "--collection=com.example.thing"}, 0,
			7, ""},
		{"from an account", []string{"--data", data, "--from=did:plc:bobbbbbbbbbbbbbbbbbbbbbb"}, 0, 1, ""},
		{"to a record", []string{"--data", data,
			"--to=at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/app.bsky.feed.like/3m2qrrgw22222"}, 0, 5, ""},
		{"an account that is none", []string{"--data", data, "--from=did:plc:none"}, 1, 0,
			"has never seen the account did:plc:none"},
		{"no index", []string{"--data", t.TempDir()}, 1, 0, "there is no weft.db in it"},
		{"a weft runs", []string{"--data", open}, 0, 5, ""},
		{"a directory with something else", []string{"--data", data, "--out", full}, 1, 0, "new or empty"},
		{"an argument too many", []string{"x"}, 2, 0, "export takes no argument"},
		{"a format that is none", []string{"--format=csv"}, 2, 0, "--format must be ndjson or parquet"},
		{"parquet to standard output", []string{"--format=parquet"}, 2, 0, "parquet needs --out"},
		{"parts of standard output", []string{"--part-links=5"}, 2, 0, "--part-links needs --out"},
		{"parts of nothing", []string{"--out=x", "--part-links=0"}, 2, 0, "--part-links must be 1 or more"},
		{"a bound that is none", []string{"--from=yesterday"}, 2, 0, "--from must be a DID or an at-uri"},
		{"a bound by handle", []string{"--to=at://alice.example/app.bsky.feed.like"}, 2, 0,
			"--to must be a DID or an at-uri"},
		{"an empty bound", []string{"--to="}, 2, 0, "--to must be a DID or an at-uri"},
		{"a collection that is none", []string{"--collection=likes"}, 2, 0, "--collection must be an NSID"},
		{"bodies that nobody keeps", []string{"--data", data, "--bodies"}, 0, 7, "this index has no record content"},
		{"bodies", []string{"--data", bodiesIndex(t), "--bodies"}, 0, 7, ""},
		{"a flag that is none", []string{"--compact"}, 2, 0, "weft export --help"},
		{"help", []string{"--help"}, 0, -1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := weft(t.Context(), append([]string{"export"}, tc.args...)...)
			if code != tc.code || tc.lines >= 0 && strings.Count(stdout, "\n") != tc.lines ||
				!strings.Contains(stderr, tc.stderr) || code != 0 && strings.Count(stderr, "\n") > 2 {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}

var errFault = errors.New("a fault")

// TestExportResume: an export that is interrupted at any step, repeatedly, resumes after its last complete part and
// gives the files of an uninterrupted one. A killed process also leaves the temporary file.
func TestExportResume(t *testing.T) {
	t.Parallel()
	for format := range formats {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %t", format, killed), func(t *testing.T) {
				t.Parallel()
				data := hostileIndex(t)
				want := exportAll(t, data)
				for at := 1; ; at++ { // at is the step of each run that fails
					out := filepath.Join(t.TempDir(), "out")
					faults, parts := 0, 0
					x := exportRun{data: data, format: format, out: out, partLinks: 2}
					for range 5 { // runs
						n := 0
						x.step = func(string) error {
							if n++; n == at {
								return errFault
							}
							return nil
						}
						err := x.run(t.Context(), io.Discard, io.Discard)
						if err == nil {
							break
						}
						if !errors.Is(err, errFault) {
							t.Fatal(err)
						}
						faults++
						if _, err := os.Stat(filepath.Join(out, exportFile)); err != nil {
							if killed {
								leaveBehind(t, out, exportFile+".tmp")
							}
							continue
						}
						_, list := rowsOfDir(t, out)
						if len(list.Parts) < parts {
							t.Fatalf("step %d: %d parts were there, and %d are", at, parts, len(list.Parts))
						}
						parts = len(list.Parts)
						if killed && list.Links < int64(len(want)) {
							leaveBehind(t, out, fmt.Sprintf("links-%05d%s.tmp", parts+1, formats[format].suffix), exportFile+".tmp")
						}
					}
					x.step = nil
					if err := x.run(t.Context(), io.Discard, io.Discard); err != nil {
						t.Fatal(err)
					}
					if rows, list := rowsOfDir(t, out); !slices.Equal(rows, want) || !list.Complete || len(list.Parts) != 2 {
						t.Errorf("step %d: %d parts, %+v", at, len(list.Parts), rows)
					}
					if faults == 0 {
						if at < 20 {
							t.Errorf("an export has %d steps", at-1)
						}
						break
					}
				}
			})
		}
	}
}

// leaveBehind makes the half-written files of a killed process.
func leaveBehind(t *testing.T, out string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(out, name), []byte("half of what was to c"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExportAgain: a directory with a complete export stays unchanged. A directory with a different export is refused,
// with advice.
func TestExportAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, data, out string)
		args   []string
		code   int
		want   string // substring of the output
	}{
		{"the same", func(*testing.T, string, string) {}, nil, 0,
			"already has the complete export: 7 links of 3 records in 1 part"},
		{"other parts", func(*testing.T, string, string) {}, []string{"--part-links=1"}, 0,
			"already has the complete export"},
		{"another format", func(*testing.T, string, string) {}, []string{"--format=parquet"}, 1,
			"with --format ndjson; to start over, use a new directory for --out"},
		{"another range", func(*testing.T, string, string) {}, []string{"--from=did:web:carol.example"}, 1,
			`with --from "" --to ""; to start over`},
		{"a filter", func(*testing.T, string, string) {}, []string{"--collection=app.bsky.feed.like"}, 1,
			"with --collection []; to start over"},
		{"with inactive accounts", func(*testing.T, string, string) {}, []string{"--inactive"}, 1,
			"with --inactive=false; to start over"},
		{"with bodies", func(*testing.T, string, string) {}, []string{"--bodies"}, 1, "with --bodies=false; to start over"},
		{"the index has gone on", func(t *testing.T, data, _ string) {
			s, err := db.Open(db.Config{Dir: data})
			if err != nil {
				t.Fatal(err)
			}
			late := apply.Event{Seq: 100, TimeUS: 1_770_000_001_000_000, Op: db.OpCreate, DID: "did:web:late.example",
				Collection: "app.bsky.graph.follow", Rkey: "self", Rev: "3mdtsyunhbu22",
				Links: []db.Link{{Path: "subject", Target: "did:web:carol.example"}}}
			if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{late}}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, "as of log row 5 2026-02-02T02:40:00.123460Z: the index is now at row 6"},
		{"another index", func(t *testing.T, data, _ string) {
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(data, os.DirFS(hostileIndex(t))); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, "this is index"},
		{"a part is missing", func(t *testing.T, _, out string) {
			if err := os.Remove(filepath.Join(out, "links-00001.ndjson.zst")); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, "a part of the export is missing"},
		{"a part was cut off", func(t *testing.T, _, out string) {
			if err := os.Truncate(filepath.Join(out, "links-00001.ndjson.zst"), 10); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, "has 10 bytes, and _export.json says"},
		{"a list that is none", func(t *testing.T, _, out string) {
			if err := os.WriteFile(filepath.Join(out, exportFile), []byte("{"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, "to start over"},
		{"a newer list", func(t *testing.T, _, out string) {
			if err := os.WriteFile(filepath.Join(out, exportFile), []byte(`{"version": 2}`), 0o644); err != nil {
				t.Fatal(err)
			}
		}, nil, 1, "in format version 2: this weft writes version 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			data, out := hostileIndex(t), t.TempDir()
			call := func(args ...string) (int, string, string) {
				return weft(t.Context(), append([]string{"export", "--data", data, "--out", out}, args...)...)
			}
			if code, _, stderr := call(); code != 0 {
				t.Fatal(stderr)
			}
			tc.change(t, data, out)
			if code, stdout, stderr := call(tc.args...); code != tc.code || !strings.Contains(stdout+stderr, tc.want) {
				t.Errorf("code %d, %s%s", code, stdout, stderr)
			}
		})
	}
}

// TestExportBodiesAgain: an export with bodies can't resume without them, nor after some bodies were pruned.
func TestExportBodiesAgain(t *testing.T) {
	t.Parallel()
	data, out := bodiesIndex(t), t.TempDir()
	for _, tc := range []struct {
		name string
		keep db.Bodies
		args []string
		code int
		want string
	}{
		{"begun", db.BodiesKeep, []string{"--bodies"}, 0, "has 7 links of 5 records"},
		{"the same", db.BodiesKeep, []string{"--bodies"}, 0, "already has the complete export"},
		{"without", db.BodiesKeep, nil, 1, "with --bodies=true; to start over"},
		{"after bodies were given up", db.BodiesOff, []string{"--bodies"}, 1,
			"with the bodies of log rows from 1 on: the index now has those from 8 on"},
	} {
		s, err := db.Open(db.Config{Dir: data, Bodies: tc.keep})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := weft(t.Context(), append([]string{"export", "--data", data, "--out", out}, tc.args...)...)
		if code != tc.code || !strings.Contains(stdout+stderr, tc.want) {
			t.Errorf("%s: code %d, %s%s", tc.name, code, stdout, stderr)
		}
	}
}

// TestExportProgress: a terminal gets a progress line whose numbers grow to the total.
func TestExportProgress(t *testing.T) {
	t.Parallel()
	e, err := export.Open(t.Context(), longIndex(t), export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var out bytes.Buffer
	p := exportProgress{w: &out, e: e, shown: true, began: time.Now().Add(-10 * time.Second)}
	links := int64(0)
	for r, err := range e.Records(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		links += int64(len(r.Links))
	}
	for range 1024 {
		if err := p.tick(links); err != nil {
			t.Fatal(err)
		}
	}
	p.end()
	if !regexp.MustCompile("^\r42,000 links, 4,\\d{3}/s, 100 % \x1b\\[K\r\x1b\\[K$").MatchString(out.String()) {
		t.Errorf("%q", out.String())
	}
	if isTerminal(&out) {
		t.Error("a buffer is a terminal")
	}
}
