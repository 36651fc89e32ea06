package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/jcalabro/atmos/cbor"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/export"
)

// exportIndex makes a data directory from events, and keeps the bodies that events have.
func exportIndex(t *testing.T, events ...apply.Event) string {
	t.Helper()
	dir := t.TempDir()
	cfg := db.Config{Dir: dir}
	if slices.ContainsFunc(events, func(e apply.Event) bool { return e.Body != nil }) {
		cfg.Bodies = db.BodiesKeep
	}
	s, err := db.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		e := &events[i]
		e.Seq, e.TimeUS, e.Rev = uint64(i+1), 1_770_000_000_123_456+int64(i), "3mdtsyunhbu22"
		if e.Op == 0 {
			e.Op = db.OpCreate
		}
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// hostileIndex has hostile text wherever authors can choose it: paths are the keys of their records.
func hostileIndex(t *testing.T) string {
	t.Helper()
	const alice, bob, carol = "did:plc:aliceaaaaaaaaaaaaaaaaaaa", "did:plc:bobbbbbbbbbbbbbbbbbbbbbb",
		"did:web:carol.example"
	return exportIndex(t,
		apply.Event{DID: alice, Collection: "com.example.thing", Rkey: "a:b~c._-", Links: []db.Link{
			{Path: `quote".back\slash`, Target: "https://example.com/?q=%22&<b>"},
			{Path: "line\nbreak\ttab\x00nul", Target: "https://example.com/a"},
			{Path: "line\u2028separator", Target: "https://example.com/b"},
			{Path: "snow☃.\U0001F9F5", Target: bob},
			{Path: "<html>&", Target: "at://" + bob},
		}},
		apply.Event{DID: alice, Collection: "app.bsky.feed.like", Rkey: "3m2qrrgw22222", Links: []db.Link{
			{Path: "subject.uri", Target: "at://" + bob + "/app.bsky.feed.post/3m2qrrgw33333"}}},
		apply.Event{DID: bob, Collection: "app.bsky.feed.like", Rkey: "2024", Links: []db.Link{
			{Path: "subject.uri", Target: "at://" + alice + "/com.example.thing/a:b~c._-"}}},
		apply.Event{DID: carol, Collection: "app.bsky.graph.follow", Rkey: "self", Links: []db.Link{{Path: "subject", Target: alice}}},
		apply.Event{DID: carol, Op: db.OpAccount, Status: db.StatusTakendown},
	)
}

// bodiesIndex has records of all kinds: with several links, with hostile text, with values outside the data model,
// without a body, of a hidden account, and large.
func bodiesIndex(t *testing.T) string {
	t.Helper()
	const alice, bob, carol = "did:plc:aliceaaaaaaaaaaaaaaaaaaa", "did:plc:bobbbbbbbbbbbbbbbbbbbbbb", "did:web:carol.example"
	cid, err := cbor.ParseCIDString("bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a")
	if err != nil {
		t.Fatal(err)
	}
	event := func(did, rkey string, record any, links ...db.Link) apply.Event {
		e := apply.Event{DID: did, Collection: "com.example.thing", Rkey: rkey, Links: links}
		if record != nil {
			if e.Body, err = cbor.Marshal(record); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	one := db.Link{Path: "a", Target: "https://example.com/"}
	float := event(alice, "float", nil, one)
	float.Body = []byte("\xa1\x61a\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00") // {"a": 1.5}
	return exportIndex(t,
		event(alice, "several", map[string]any{"$type": "com.example.thing", "a": one.Target, "b": []any{bob, int64(-1), true, nil}},
			one, db.Link{Path: "b[]", Target: bob}),
		event(alice, "hostile", map[string]any{"a": one.Target, "cid": cid, "bytes": []byte{0, 255},
			`quote"\<b>&`: "line\nbreak\ttab\x00nul\u2028separator snow☃ \U0001F9F5", "record": map[string]any{"$type": "status"}}, one),
		float,
		event(alice, "unknown", nil, one),
		event(bob, "large", map[string]any{"a": one.Target, "text": strings.Repeat("all work and no play ", 10_000)}, one,
			db.Link{Path: "b", Target: bob}),
		event(carol, "hidden", map[string]any{"a": one.Target}, one),
		apply.Event{DID: carol, Op: db.OpAccount, Status: db.StatusTakendown},
	)
}

// longIndex has more links than one window of the walk, in records of many links.
func longIndex(t *testing.T) string {
	t.Helper()
	var events []apply.Event
	for i := range 60 {
		e := apply.Event{DID: fmt.Sprintf("did:plc:%024d", i/10), Collection: "com.example.thing",
			Rkey: fmt.Sprintf("n%02d", i)}
		for j := range 700 {
			e.Links = append(e.Links, db.Link{Path: "a[]", Target: fmt.Sprintf("https://example.com/%d/%d", i, j)})
		}
		events = append(events, e)
	}
	return exportIndex(t, events...)
}

// row is a line of ndjson.
type row struct {
	DID, Collection, Rkey, Path, Target, Status string
	Time                                        time.Time
	CID, Record                                 string // empty: absent
}

func rowsOfJSON(t *testing.T, r io.Reader) (rows []row) {
	t.Helper()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		one := struct {
			row
			Record json.RawMessage
		}{}
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&one); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		one.row.Record = string(one.Record)
		rows = append(rows, one.row)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// rowsOfDir reads the parts of an export and compares them with its list.
func rowsOfDir(t *testing.T, dir string) (rows []row, list exportList) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, exportFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	names := []string{exportFile}
	for _, p := range list.Parts {
		data, err := os.ReadFile(filepath.Join(dir, p.File))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != p.SHA256 || int64(len(data)) != p.Bytes {
			t.Errorf("%s is not what the list says", p.File)
		}
		part := rowsOfPart(t, p.File, data, list.BodiesFrom > 0)
		uri := func(r row) string { return "at://" + r.DID + "/" + r.Collection + "/" + r.Rkey }
		if int64(len(part)) != p.Links || uri(part[0]) != p.First || uri(part[len(part)-1]) != p.Last {
			t.Errorf("%s has %d links, not %+v", p.File, len(part), p)
		}
		rows, names = append(rows, part...), append(names, p.File)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if list.Complete && !slices.Contains(names, e.Name()) {
			t.Errorf("%s is not in the list", e.Name())
		}
	}
	if int64(len(rows)) != list.Links {
		t.Errorf("%d links, and the list says %d", len(rows), list.Links)
	}
	return rows, list
}

func rowsOfPart(t *testing.T, name string, data []byte, bodies bool) (rows []row) {
	t.Helper()
	if strings.HasSuffix(name, ".zst") {
		z, err := zstd.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		return rowsOfJSON(t, z)
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	columns := []string{"did", "collection", "rkey", "path", "target", "time", "status", "cid", "record"}
	if !bodies {
		columns = columns[:7]
	}
	if got := fmt.Sprint(f.Schema().Columns()); strings.NewReplacer("[", "", "]", "").Replace(got) != strings.Join(columns,
		" ") {
		t.Errorf("%s has the columns %s, not %s", name, got, columns)
	}
	r := parquet.NewGenericReader[parquetBodyRow](bytes.NewReader(data))
	defer r.Close()
	all := make([]parquetBodyRow, f.NumRows())
	if n, err := r.Read(all); n < len(all) {
		t.Fatal(err)
	}
	for _, r := range all {
		rows = append(rows, row{r.DID, r.Collection, r.Rkey, r.Path, r.Target, r.Status, time.UnixMicro(r.Time).UTC(), r.CID,
			r.Record})
	}
	return rows
}

// exportAll returns the rows of an export to standard output.
func exportAll(t *testing.T, dir string, args ...string) []row {
	t.Helper()
	code, stdout, stderr := weft(t.Context(), append([]string{"export", "--data", dir}, args...)...)
	if code != 0 || stderr != "" {
		t.Fatalf("code %d, %s", code, stderr)
	}
	return rowsOfJSON(t, strings.NewReader(stdout))
}

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
	for _, path := range []string{`quote".back\slash`, "line\nbreak\ttab\x00nul", "line\u2028separator", "snow☃.\U0001F9F5", "<html>&"} {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.Path == path }) {
			t.Errorf("no row has the path %q", path)
		}
	}
	all := exportAll(t, data, "--inactive")
	for format := range formats {
		for _, tc := range []struct {
			args []string
			want []row
		}{{nil, rows}, {[]string{"--inactive"}, all}, {[]string{"--part-links=1"}, rows}, {[]string{"--part-links=6"}, rows}} {
			out := filepath.Join(t.TempDir(), "new", "out")
			code, stdout, stderr := weft(t.Context(), append([]string{"export", "--data", data, "--format", format, "--out", out}, tc.args...)...)
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
	if want := []string{"float true false", "hostile true true", "several true true", "several true true", "unknown false false",
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
		}{{nil, without}, {[]string{"--bodies"}, with}, {[]string{"--bodies", "--part-links=2"}, with}, {[]string{"--bodies", "--inactive"}, all}} {
			out := filepath.Join(t.TempDir(), "out")
			if code, _, stderr := weft(t.Context(), append([]string{"export", "--data", data, "--format", format, "--out", out}, tc.args...)...); code != 0 || stderr != "" {
				t.Fatalf("code %d, %s", code, stderr)
			}
			if got, list := rowsOfDir(t, out); !slices.Equal(got, tc.want) || !list.Complete || list.BodiesFrom > 1 || (list.BodiesFrom == 1) != (tc.args != nil) {
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
		{"two collections", []string{"--data", data, "--collection=app.bsky.feed.like", "--collection=com.example.thing"}, 0, 7, ""},
		{"from an account", []string{"--data", data, "--from=did:plc:bobbbbbbbbbbbbbbbbbbbbbb"}, 0, 1, ""},
		{"to a record", []string{"--data", data, "--to=at://did:plc:aliceaaaaaaaaaaaaaaaaaaa/app.bsky.feed.like/3m2qrrgw22222"}, 0, 5, ""},
		{"an account that is none", []string{"--data", data, "--from=did:plc:none"}, 1, 0, "has never seen the account did:plc:none"},
		{"no index", []string{"--data", t.TempDir()}, 1, 0, "there is no weft.db in it"},
		{"a weft runs", []string{"--data", open}, 0, 5, ""},
		{"a directory with something else", []string{"--data", data, "--out", full}, 1, 0, "new or empty"},
		{"an argument too many", []string{"x"}, 2, 0, "export takes no argument"},
		{"a format that is none", []string{"--format=csv"}, 2, 0, "--format must be ndjson or parquet"},
		{"parquet to standard output", []string{"--format=parquet"}, 2, 0, "parquet needs --out"},
		{"parts of standard output", []string{"--part-links=5"}, 2, 0, "--part-links needs --out"},
		{"parts of nothing", []string{"--out=x", "--part-links=0"}, 2, 0, "--part-links must be 1 or more"},
		{"a bound that is none", []string{"--from=yesterday"}, 2, 0, "--from must be a DID or an at-uri"},
		{"a bound by handle", []string{"--to=at://alice.example/app.bsky.feed.like"}, 2, 0, "--to must be a DID or an at-uri"},
		{"an empty bound", []string{"--to="}, 2, 0, "--to must be a DID or an at-uri"},
		{"a collection that is none", []string{"--collection=likes"}, 2, 0, "--collection must be an NSID"},
		{"bodies that nobody keeps", []string{"--data", data, "--bodies"}, 0, 7, "this index has no record content"},
		{"bodies", []string{"--data", bodiesIndex(t), "--bodies"}, 0, 7, ""},
		{"a flag that is none", []string{"--compact"}, 2, 0, "weft export --help"},
		{"help", []string{"--help"}, 0, -1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := weft(t.Context(), append([]string{"export"}, tc.args...)...)
			if code != tc.code || tc.lines >= 0 && strings.Count(stdout, "\n") != tc.lines || !strings.Contains(stderr, tc.stderr) || code != 0 && strings.Count(stderr, "\n") > 2 {
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
		{"the same", func(*testing.T, string, string) {}, nil, 0, "already has the complete export: 7 links of 3 records in 1 part"},
		{"other parts", func(*testing.T, string, string) {}, []string{"--part-links=1"}, 0, "already has the complete export"},
		{"another format", func(*testing.T, string, string) {}, []string{"--format=parquet"}, 1, "with --format ndjson; to start over, use a new directory for --out"},
		{"another range", func(*testing.T, string, string) {}, []string{"--from=did:web:carol.example"}, 1, `with --from "" --to ""; to start over`},
		{"a filter", func(*testing.T, string, string) {}, []string{"--collection=app.bsky.feed.like"}, 1, "with --collection []; to start over"},
		{"with inactive accounts", func(*testing.T, string, string) {}, []string{"--inactive"}, 1, "with --inactive=false; to start over"},
		{"with bodies", func(*testing.T, string, string) {}, []string{"--bodies"}, 1, "with --bodies=false; to start over"},
		{"the index has gone on", func(t *testing.T, data, _ string) {
			s, err := db.Open(db.Config{Dir: data})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{{Seq: 100, TimeUS: 1_770_000_001_000_000, Op: db.OpCreate, DID: "did:web:late.example",
				Collection: "app.bsky.graph.follow", Rkey: "self", Rev: "3mdtsyunhbu22", Links: []db.Link{{Path: "subject", Target: "did:web:carol.example"}}}}}); err != nil {
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
		{"after bodies were given up", db.BodiesOff, []string{"--bodies"}, 1, "with the bodies of log rows from 1 on: the index now has those from 8 on"},
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

// cutWriter fails after some bytes.
type cutWriter struct {
	bytes.Buffer
	left int
}

func (w *cutWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		n, _ := w.Buffer.Write(b[:w.left])
		w.left = 0
		return n, errFault
	}
	w.left -= len(b)
	return w.Buffer.Write(b)
}

// stopWriter cancels the export after some writes.
type stopWriter struct {
	bytes.Buffer
	after int
	stop  func()
}

func (w *stopWriter) Write(b []byte) (int, error) {
	if w.after--; w.after == 0 {
		w.stop()
	}
	return w.Buffer.Write(b)
}

var fromOf = regexp.MustCompile(`--from (at://\S+)$`)

// TestExportStream: an interrupted stream names the record to resume from, and the two outputs have each link once.
func TestExportStream(t *testing.T) {
	t.Parallel()
	data := longIndex(t)
	whole := exportAll(t, data)
	uri := func(r row) string { return "at://" + r.DID + "/" + r.Collection + "/" + r.Rkey }
	goOn := func(err error, got []row) []row {
		t.Helper()
		if err == nil {
			return got
		}
		from := fromOf.FindStringSubmatch(err.Error())
		if from == nil {
			t.Fatalf("no --from in: %v", err)
		}
		if at := slices.IndexFunc(got, func(r row) bool { return uri(r) == from[1] }); at >= 0 {
			got = got[:at] // the rest may be truncated
		}
		return append(got, exportAll(t, data, "--from", from[1])...)
	}
	x := exportRun{data: data, format: "ndjson"}
	for _, left := range []int{0, 100, 1 << 16, 1<<16 + 12_345, 1 << 20} {
		w := &cutWriter{left: left}
		err := x.run(t.Context(), w, io.Discard)
		text := w.Bytes()[:bytes.LastIndexByte(w.Bytes(), '\n')+1]
		if !errors.Is(err, errFault) {
			t.Fatalf("%v", err)
		}
		if got := goOn(err, rowsOfJSON(t, bytes.NewReader(text))); !slices.Equal(got, whole) {
			t.Errorf("a fault after %d bytes: %d rows, not %d", left, len(got), len(whole))
		}
	}
	for _, after := range []int{1, 20, 40} {
		ctx, stop := context.WithCancel(t.Context())
		w := &stopWriter{after: after, stop: stop}
		err := x.run(ctx, w, io.Discard)
		got := rowsOfJSON(t, &w.Buffer)
		if err == nil || !strings.HasPrefix(err.Error(), "interrupted after ") || len(got) == 0 || len(got) == len(whole) {
			t.Errorf("interrupted after %d writes: %v, %d rows", after, err, len(got))
		}
		if got = goOn(err, got); !slices.Equal(got, whole) {
			t.Errorf("interrupted after %d writes: %d rows, not %d", after, len(got), len(whole))
		}
		stop()
	}
}

// TestExportInterrupted: an interrupted export to files reports the complete part, and the next run resumes.
func TestExportInterrupted(t *testing.T) {
	t.Parallel()
	data, out := longIndex(t), filepath.Join(t.TempDir(), "out")
	ctx, stop := context.WithCancel(t.Context())
	parts := 0
	x := exportRun{data: data, format: "parquet", out: out, partLinks: 1500, step: func(name string) error {
		if name == "create" {
			if parts++; parts == 4 {
				stop()
			}
		}
		return nil
	}}
	err := x.run(ctx, io.Discard, io.Discard)
	if err == nil || !regexp.MustCompile(`^interrupted; \S+ has [0-9,]+ links of \d+ records in \d+ parts; run the same command to resume$`).MatchString(err.Error()) {
		t.Fatalf("interrupted: %v", err)
	}
	_, was := rowsOfDir(t, out)
	var stdout bytes.Buffer
	x.step = nil
	if err := x.run(t.Context(), &stdout, io.Discard); err != nil || !strings.Contains(stdout.String(), "parts existed before") {
		t.Fatalf("%v, %s", err, stdout.String())
	}
	rows, list := rowsOfDir(t, out)
	if !slices.Equal(rows, exportAll(t, data)) || len(list.Parts) != 30 || !slices.Equal(list.Parts[:len(was.Parts)], was.Parts) {
		t.Errorf("%d rows in %d parts, of which %d were there", len(rows), len(list.Parts), len(was.Parts))
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
