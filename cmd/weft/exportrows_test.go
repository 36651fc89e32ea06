package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jcalabro/atmos/cbor"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
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
		apply.Event{DID: carol, Collection: "app.bsky.graph.follow", Rkey: "self",
			Links: []db.Link{{Path: "subject", Target: alice}}},
		apply.Event{DID: carol, Op: db.OpAccount, Status: db.StatusTakendown},
	)
}

// bodiesIndex has records of all kinds: with several links, with hostile text, with values outside the data model,
// without a body, of a hidden account, and large.
func bodiesIndex(t *testing.T) string {
	t.Helper()
	const alice, bob, carol = "did:plc:aliceaaaaaaaaaaaaaaaaaaa", "did:plc:bobbbbbbbbbbbbbbbbbbbbbb",
		"did:web:carol.example"
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
		event(alice, "several", map[string]any{"$type": "com.example.thing", "a": one.Target,
			"b": []any{bob, int64(-1), true, nil}},
			one, db.Link{Path: "b[]", Target: bob}),
		event(alice, "hostile", map[string]any{"a": one.Target, "cid": cid, "bytes": []byte{0, 255},
			`quote"\<b>&`: "line\nbreak\ttab\x00nul\u2028separator snow☃ \U0001F9F5",
			"record":      map[string]any{"$type": "status"}}, one),
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
