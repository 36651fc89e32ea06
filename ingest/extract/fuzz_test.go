package extract

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jcalabro/atmos/cbor"

	"weft.dev/weft/link"
)

// reference extracts links in the obvious way, from maps: it says what the paths are and which links a record has,
// without order and limits.
func reference(path string, v any, found map[pair]bool) {
	switch v := v.(type) {
	case string:
		if target, kind := link.Parse(v); kind != link.None {
			found[pair{strings.TrimPrefix(path, "."), target}] = true
		}
	case []any:
		for _, element := range v {
			at := path + "[]"
			if o, ok := element.(map[string]any); ok {
				if t, ok := o["$type"].(string); ok {
					if strings.Contains(t, "\x00") {
						continue
					}
					at = path + "[" + t + "]"
				}
			}
			reference(at, element, found)
		}
	case map[string]any:
		if len(v) == 1 {
			for _, key := range []string{"$link", "$bytes"} {
				if _, ok := v[key].(string); ok {
					return
				}
			}
		}
		for key, value := range v {
			if !strings.Contains(key, "\x00") {
				reference(path+"."+key, value, found)
			}
		}
	}
}

func referencePairs(v any) []pair {
	found := map[pair]bool{}
	reference("", v, found)
	var out []pair
	for p := range found {
		out = append(out, p)
	}
	return sorted(out)
}

// unlimited has limits that no input of a fuzz test reaches but by its depth.
var unlimited = Limits{MaxDepth: ceilingDepth, MaxBytes: 1 << 40, MaxPath: 1 << 30}

// checkLinks checks what holds for the links of any record.
func checkLinks(t *testing.T, links []Link, limits Limits) {
	t.Helper()
	seen := map[pair]bool{}
	spent, paths := 0, map[string]bool{}
	for _, p := range pairs(links) {
		if spent += linkCost + len(p.target); !paths[p.path] {
			spent += linkCost + len(p.path)
			paths[p.path] = true
		}
	}
	if spent > limits.MaxBytes {
		t.Errorf("%d links take %d bytes", len(links), spent)
	}
	for i, p := range pairs(links) {
		if seen[p] {
			t.Errorf("%q twice", p)
		}
		seen[p] = true
		if len(p.path) > limits.MaxPath || !utf8.ValidString(p.path) || strings.Contains(p.path, "\x00") {
			t.Errorf("path %q", p.path)
		}
		if again, kind := link.Append(nil, links[i].Target); kind == link.None || string(again) != p.target {
			t.Errorf("target %q isn't normal", p.target)
		}
	}
}

var narrow = Limits{MaxDepth: 2, MaxBytes: 100, MaxPath: 8}

func seedRecords(t testing.TB) []string {
	var out []string
	for _, name := range []string{"events-kinds.jsonl", "events-152.jsonl"} {
		for _, e := range readEvents(t, name) {
			if e.Commit.Record != nil {
				out = append(out, string(e.Commit.Record))
			}
		}
	}
	return append(out,
		`{"a":[{"u":"a:b","v":{"w":["a:c"]},"$type":"t"}],"b":[[{}],"x:y","x:z"]}`,
		`{"\u0024type":"\u0074","a":{"$link":"a:1"},"b":[{"$bytes":"YTpi"}],"c":"\ud83d\ude00:\/"}`,
		`{"a":[1.5e3,true,null,"a:\ud83d",-0]} `,
	)
}

// JSON accepts exactly the objects that encoding/json holds for valid.
func FuzzJSON(f *testing.F) {
	for _, r := range seedRecords(f) {
		f.Add([]byte(r))
	}
	for _, x := range malformedJSON {
		f.Add([]byte(x.record))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		if bytes.Count(record, []byte("["))+bytes.Count(record, []byte("{")) > 5000 {
			t.Skip("encoding/json gives up at 10000 levels")
		}
		valid := json.Valid(record) && bytes.HasPrefix(bytes.TrimLeft(record, " \t\r\n"), []byte("{"))
		for _, limits := range []Limits{unlimited, narrow} {
			links, err := New(limits).JSON(record)
			if (err == nil) != valid {
				t.Errorf("%+v: error %v, valid %v", limits, err, valid)
			}
			checkLinks(t, links, limits)
		}
	})
}

// CBOR accepts at least what a strict decoder does, with the links of the reference, which are also those of the JSON
// form.
func FuzzCBOR(f *testing.F) {
	for _, r := range seedRecords(f)[:40] {
		f.Add(toCBOR(f, r))
	}
	for _, x := range malformedCBOR {
		f.Add([]byte(x.record))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		x := New(unlimited)
		links, err := x.CBOR(record)
		checkLinks(t, links, unlimited)
		got := sorted(pairs(links))
		if links, narrowErr := New(narrow).CBOR(record); narrowErr == nil {
			checkLinks(t, links, narrow)
		} else if err == nil {
			t.Errorf("malformed only with narrow limits: %v", narrowErr)
		}
		v, strictErr := cbor.Unmarshal(record)
		if _, isMap := v.(map[string]any); strictErr != nil || !isMap {
			return
		}
		if err != nil {
			t.Fatalf("refuses what the strict decoder accepts: %v", err)
		}
		if want := referencePairs(v); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		asJSON, err := cbor.ToJSON(v)
		if err != nil {
			return // floats, which JSON records can't have
		}
		if links, err = x.JSON(asJSON); err != nil {
			t.Fatalf("%v: %s", err, asJSON)
		}
		if fromJSON := sorted(pairs(links)); !slices.Equal(got, fromJSON) {
			t.Errorf("CBOR gives %q, JSON gives %q", got, fromJSON)
		}
	})
}

// JSON, CBOR and the reference agree on every record that can be converted.
func FuzzAgree(f *testing.F) {
	for _, r := range seedRecords(f) {
		f.Add([]byte(r))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		v, err := cbor.FromJSON(record)
		if _, isMap := v.(map[string]any); err != nil || !isMap {
			return
		}
		x := New(unlimited)
		links, err := x.JSON(record)
		if err != nil {
			t.Fatal(err)
		}
		// encoding/json replaces what isn't UTF-8, and makes a record of it that this is not about.
		if d := x.Dropped(); d.BadText > 0 || !utf8.Valid(record) || d.BadPath > 0 && strings.Contains(string(record), `\u`) {
			return
		}
		fromJSON := sorted(pairs(links))
		asCBOR, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if links, err = x.CBOR(asCBOR); err != nil {
			t.Fatal(err)
		}
		fromCBOR := sorted(pairs(links))
		y := New(narrow)
		if links, err = y.CBOR(asCBOR); err != nil {
			t.Fatal(err)
		}
		ofCBOR, dropped := sorted(pairs(links)), y.Dropped()
		y = New(narrow)
		if links, err = y.JSON(record); err != nil {
			t.Fatal(err)
		}
		if ofJSON := sorted(pairs(links)); !slices.Equal(ofJSON, ofCBOR) || y.Dropped().Links != dropped.Links {
			t.Errorf("with narrow limits JSON gives %q, CBOR gives %q", ofJSON, ofCBOR)
		}
		if want := referencePairs(v); !slices.Equal(fromJSON, want) || !slices.Equal(fromCBOR, want) {
			t.Errorf("JSON gives %q, CBOR gives %q, want %q", fromJSON, fromCBOR, want)
		}
	})
}
