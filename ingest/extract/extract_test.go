package extract

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jcalabro/atmos/cbor"
)

// pair is a Link as a comparable value.
type pair struct{ path, target string }

func pairs(links []Link) []pair {
	out := make([]pair, len(links))
	for i, l := range links {
		out[i] = pair{string(l.Path), string(l.Target)}
	}
	return out
}

func sorted(p []pair) []pair {
	p = slices.Clone(p)
	slices.SortFunc(p, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.target, b.target))
	})
	return p
}

// toCBOR converts a record by way of an implementation that isn't ours.
func toCBOR(t testing.TB, record string) []byte {
	t.Helper()
	v, err := cbor.FromJSON([]byte(record))
	if err != nil {
		t.Fatalf("%v: %s", err, record)
	}
	out, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// both extracts the links of a record in JSON and, after conversion, in CBOR, checks that they are the same set, and
// returns them in the order of the JSON, with what the JSON dropped.
func both(t testing.TB, limits Limits, record string) ([]pair, Dropped) {
	t.Helper()
	x := New(limits)
	links, err := x.JSON([]byte(record))
	if err != nil {
		t.Fatalf("JSON: %v: %s", err, record)
	}
	got := pairs(links)
	y := New(limits)
	if links, err = y.CBOR(toCBOR(t, record)); err != nil {
		t.Fatalf("CBOR: %v: %s", err, record)
	}
	if fromCBOR := pairs(links); !slices.Equal(sorted(got), sorted(fromCBOR)) {
		t.Errorf("JSON gives %q, CBOR gives %q", got, fromCBOR)
	}
	if x.Dropped() != y.Dropped() {
		t.Errorf("JSON dropped %+v, CBOR dropped %+v", x.Dropped(), y.Dropped())
	}
	return got, x.Dropped()
}

func TestVectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../link/testdata/links.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Records []struct {
			Collection string
			Record     json.RawMessage
			Links      [][2]string
		}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Records) == 0 {
		t.Fatal("no vectors")
	}
	for _, r := range v.Records {
		t.Run(r.Collection, func(t *testing.T) {
			t.Parallel()
			var want []pair
			for _, l := range r.Links {
				want = append(want, pair{strings.TrimPrefix(l[0], "."), l[1]})
			}
			if got, _ := both(t, Limits{}, string(r.Record)); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

const cid = "bafyreib25swk3a6waplk2ie75u4a3qfejnkoiezfowuz7sa74i7tief3di"

func TestRecords(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, record string
		want         []pair
	}{
		{"empty", `{}`, nil},
		{"all types but links", `{"a":[],"b":{},"c":null,"d":true,"e":false,"f":-1,"g":"","h":[[{}]]}`, nil},
		{"white space", " {\t\"a\"\n:\r[ \"a:b\" , \"a:c\" ] } ", []pair{{"a[]", "a:b"}, {"a[]", "a:c"}}},
		{"normalised", `{"a":"HTTPS://Example.com/%7e"}`, []pair{{"a", "https://example.com/~"}}},
		{"same target, two spellings", `{"a":["A:b","a:b"]}`, []pair{{"a[]", "a:b"}}},
		{"same target at two paths", `{"a":"a:b","b":"a:b"}`, []pair{{"a", "a:b"}, {"b", "a:b"}}},
		{"$type in front", `{"a":[{"$type":"t","u":"a:b"}]}`, []pair{{"a[t].u", "a:b"}}},
		{"$type at the end", `{"a":[{"u":"a:b","v":{"w":["a:c"]},"$type":"t"}]}`,
			[]pair{{"a[t].u", "a:b"}, {"a[t].v.w[]", "a:c"}}},
		{"$type nested", `{"a":[{"b":[{"u":"a:b","$type":"s"}],"$type":"t"}]}`, []pair{{"a[t].b[s].u", "a:b"}}},
		{"$type outside arrays", `{"$type":"r","a":{"$type":"t","u":"a:b"}}`, []pair{{"a.u", "a:b"}}},
		{"$type of an inner object", `{"a":[{"b":{"$type":"t","u":"a:b"}}]}`, []pair{{"a[].b.u", "a:b"}}},
		{"$type that is no string", `{"a":[{"$type":{"x":"a:c"},"u":"a:b"}]}`,
			[]pair{{"a[].$type.x", "a:c"}, {"a[].u", "a:b"}}},
		{"$type empty", `{"a":[{"$type":"","u":"a:b"}]}`, []pair{{"a[].u", "a:b"}}},
		{"$type that links", `{"a":[{"$type":"t:u"}]}`, []pair{{"a[t:u].$type", "t:u"}}},
		{"$type escaped", `{"a":[{"\u0024type":"\u0074","u":"a:b"}]}`, []pair{{"a[t].u", "a:b"}}},
		{"elements of several types", `{"a":["a:1",{"$type":"t","u":"a:2"},"a:3",{"u":"a:4"},["a:5"],"a:6"]}`,
			[]pair{{"a[]", "a:1"}, {"a[t].u", "a:2"}, {"a[]", "a:3"}, {"a[].u", "a:4"}, {"a[][]", "a:5"}, {"a[]", "a:6"}}},
		{"key after a branch", `{"a":{"b":{"c":"a:1"},"d":"a:2"},"e":["a:3"],"f":"a:4"}`,
			[]pair{{"a.b.c", "a:1"}, {"a.d", "a:2"}, {"e[]", "a:3"}, {"f", "a:4"}}},
		{"keys with path characters", `{"a.b":{"c[]":"a:1","]":"a:2"},"":{"":"a:3"}}`,
			[]pair{{"a.b.c[]", "a:1"}, {"a.b.]", "a:2"}, {".", "a:3"}}},
		{"key beyond ascii, escaped", `{"\u00e9\ud83d\ude00\/\"":"a:1"}`, []pair{{"é😀/\"", "a:1"}}},
		{"value escaped", `{"a":"\u0061\u003a\/\/b\/\u00e9"}`, []pair{{"a", "a://b/%C3%A9"}}},
		{"value with an escaped pair", `{"a":"a://\uD83D\uDE00"}`, []pair{{"a", "a://%F0%9F%98%80"}}},
		{"value with control characters", `{"a":"a:b\b\f\n\r\t\\","b":"a:b\u0000"}`, nil},
		{"other keys with a dollar", `{"$types":"a:1","$":"a:2"}`, []pair{{"$types", "a:1"}, {"$", "a:2"}}},
		{"cid link", `{"a":{"$link":"` + cid + `"},"b":"a:b"}`, []pair{{"b", "a:b"}}},
		{"bytes that look like a link", `{"a":{"$bytes":"YTpi"}}`, nil},
		{"$link beside another key", `{"a":{"$link":"a:1","x":"a:2"}}`, []pair{{"a.$link", "a:1"}, {"a.x", "a:2"}}},
		{"blob", `{"a":{"$type":"blob","ref":{"$link":"` + cid + `"},"mimeType":"image/jpeg","size":1}}`, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			got, dropped := both(t, Limits{}, x.record)
			if !slices.Equal(sorted(got), sorted(x.want)) {
				t.Errorf("got %q, want %q", got, x.want)
			}
			if dropped != (Dropped{}) {
				t.Errorf("dropped %+v", dropped)
			}
		})
	}
}

// What one encoding has and the other doesn't.
func TestJSONOnly(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, record string
		want         []pair
		dropped      Dropped
	}{
		{"repeated key", `{"a":"a:1","a":"a:2"}`, []pair{{"a", "a:1"}, {"a", "a:2"}}, Dropped{}},
		{"repeated $type", `{"a":[{"$type":"s","$type":"t","u":"a:1"}]}`, []pair{{"a[s].u", "a:1"}}, Dropped{}},
		{"numbers", `{"a":[1.5,-0,0.1e+10,1E-3,123456789012345678901234567890],"b":"a:1"}`, []pair{{"b", "a:1"}}, Dropped{}},
		{"$link that is no cid", `{"a":{"$link":"a:1"}}`, nil, Dropped{}},
		{"$link that is no string", `{"a":{"$link":["a:1"]}}`, []pair{{"a.$link[]", "a:1"}}, Dropped{}},
		{"$link twice", `{"a":{"$link":"a:1","$link":"a:2"}}`, []pair{{"a.$link", "a:1"}, {"a.$link", "a:2"}}, Dropped{}},
		{"half a pair", `{"a":["a:\ud83d","a:\ude00","a:\ud83d\ud83d","a:\ud83dx","x\ud83d\n","a:1"]}`,
			[]pair{{"a[]", "a:1"}}, Dropped{BadText: 5}},
		{"invalid utf-8", "{\"a\":[\"a:\xff\",\"\xc3\",\"a:1\"]}", []pair{{"a[]", "a:1"}}, Dropped{BadText: 2}},
		{"invalid utf-8 in a key", "{\"\xff\":{\"a\":[\"a:1\",\"b\",\"a:2\"]},\"b\":\"a:3\"}", []pair{{"b", "a:3"}},
			Dropped{BadPath: 2}},
		{"half a pair in a key", `{"\ud83d":"a:1"}`, nil, Dropped{BadPath: 1}},
		{"half a pair in a $type", `{"a":[{"$type":"\ud83d","u":"a:1"}]}`, nil, Dropped{BadText: 1, BadPath: 1}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			e := New(Limits{})
			got, err := e.JSON([]byte(x.record))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(pairs(got), x.want) || e.Dropped() != x.dropped {
				t.Errorf("got %q, dropped %+v; want %q, %+v", pairs(got), e.Dropped(), x.want, x.dropped)
			}
		})
	}
}

func TestCBOROnly(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, record string
		want         []pair
		dropped      Dropped
	}{
		{"repeated, unsorted keys", "\xa3\x61b\x63a:1\x61a\x63a:2\x61b\x63a:3",
			[]pair{{"b", "a:1"}, {"a", "a:2"}, {"b", "a:3"}}, Dropped{}},
		{"long forms of lengths", "\xb8\x01\x79\x00\x01a\x9a\x00\x00\x00\x01\x7b\x00\x00\x00\x00\x00\x00\x00\x03a:1",
			[]pair{{"a[]", "a:1"}}, Dropped{}},
		{"numbers", "\xa1\x61a\x89\x00\x18\xff\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x20\x3b\xff\xff\xff\xff\xff\xff\xff\xff" +
			"\xf9\x7e\x00\xfa\x00\x00\x00\x00\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00\x63a:1", []pair{{"a[]", "a:1"}}, Dropped{}},
		{"simple values", "\xa1\x61a\x85\xf4\xf5\xf6\xf7\x63a:1", []pair{{"a[]", "a:1"}}, Dropped{}},
		{"bytes that look like a link", "\xa1\x61a\x43a:1", nil, Dropped{}},
		{"map of the form of a cid link", "\xa1\x61a\xa1\x65$link\x63a:1", nil, Dropped{}},
		{"invalid utf-8", "\xa1\x61a\x83\x63a:\xff\x61\xc3\x63a:1", []pair{{"a[]", "a:1"}}, Dropped{BadText: 2}},
		{"invalid utf-8 in a key", "\xa1\x61\xff\x63a:1", nil, Dropped{BadPath: 1}},
		{"invalid utf-8 in a $type", "\xa1\x61a\x81\xa2\x61u\x63a:1\x65$type\x61\xff", nil, Dropped{BadText: 1, BadPath: 1}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			e := New(Limits{})
			got, err := e.CBOR([]byte(x.record))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(pairs(got), x.want) || e.Dropped() != x.dropped {
				t.Errorf("got %q, dropped %+v; want %q, %+v", pairs(got), e.Dropped(), x.want, x.dropped)
			}
		})
	}
}
