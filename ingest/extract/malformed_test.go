package extract

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// malformedJSON and malformedCBOR are records that have a link, and an error.
var malformedJSON = []struct{ name, record string }{
	{"empty", ``}, {"space", ` `}, {"array", `["a:1"]`}, {"string", `"a:1"`}, {"null", `null`},
	{"open", `{"a":"a:1"`}, {"open after a comma", `{"a":"a:1",`}, {"open in a string", `{"a":"a:1`},
	{"open in an escape", `{"a":"a:1\`}, {"open in a long escape", `{"a":"a:1\u12`}, {"open in an array", `{"a":["a:1"`},
	{"open after a key", `{"a"`},
	{"trailing comma", `{"a":"a:1",}`}, {"trailing comma in an array", `{"a":["a:1",]}`}, {"lone comma", `{,"a":"a:1"}`},
	{"no colon", `{"a" "a:1"}`}, {"no comma", `{"a":"a:1" "b":"a:2"}`}, {"no comma in an array", `{"a":["a:1" "a:2"]}`},
	{"wrong bracket", `{"a":["a:1"}}`}, {"wrong brace", `{"a":"a:1"]`}, {"key without quotes", `{a:"a:1"}`},
	{"key is a number", `{1:"a:1"}`}, {"two values", `{"a":"a:1"}{}`}, {"trailing text", `{"a":"a:1"}x`},
	{"control character", "{\"a\":\"a:1\",\"b\":\"\n\"}"}, {"nul", "{\"a\":\"a:1\"\x00}"},
	{"unknown escape", `{"a":"a:1","b":"\x"}`}, {"short escape", `{"a":"a:1","b":"\u123"}`},
	{"bad escape", `{"a":"a:1","b":"\u123g"}`},
	{"bad escape in a $type", `{"a":["a:1",{"$type":"\u123g"}]}`},
	{"zero in front", `{"a":"a:1","b":01}`}, {"plus", `{"a":"a:1","b":+1}`}, {"lone minus", `{"a":"a:1","b":-}`},
	{"no digit after the point", `{"a":"a:1","b":1.}`}, {"no digit before the point", `{"a":"a:1","b":.1}`},
	{"no exponent", `{"a":"a:1","b":1e}`}, {"not a number", `{"a":"a:1","b":NaN}`}, {"half a word", `{"a":"a:1","b":tru}`},
	{"word and more", `{"a":"a:1","b":nullx}`}, {"byte order mark", "\xef\xbb\xbf{\"a\":\"a:1\"}"},
	{"deep, wrong bracket", `{"a":[[[[{]]]]]}`}, {"deep, open", `{"a":[[[[`}, {"deep, no colon", `{"a":[[[{"b"}]]]}`},
	{"deep, key without quotes", `{"a":[[[{b:1}]]]}`}, {"deep, trailing comma", `{"a":[[[{"b":1,}]]]}`},
	{"deep, no comma", `{"a":[[["b" "c"]]]}`}, {"deep, bad word", `{"a":[[[nul]]]}`},
	{"deep, bad escape", `{"a":[[["\x"]]]}`},
}

var malformedCBOR = []struct{ name, record string }{
	{"empty", ""}, {"array", "\x81\x63a:1"}, {"text", "\x63a:1"}, {"null", "\xf6"},
	{"open map", "\xa2\x61a\x63a:1"}, {"key without a value", "\xa1\x61a"}, {"truncated text", "\xa1\x61a\x64a:1"},
	{"truncated key", "\xa1\x63a"}, {"truncated length", "\xa1\x61a\x79\x00"}, {"truncated float", "\xa1\x61a\xfb\x00"},
	{"trailing byte", "\xa1\x61a\x63a:1\x00"}, {"two values", "\xa1\x61a\x63a:1\xa0"},
	{"text longer than memory", "\xa1\x61a\x7b\xff\xff\xff\xff\xff\xff\xff\xff"},
	{"array longer than memory", "\xa1\x61a\x9b\xff\xff\xff\xff\xff\xff\xff\xff"},
	{"map longer than memory", "\xbb\xff\xff\xff\xff\xff\xff\xff\xff"},
	{"array of more than there is", "\xa1\x61a\x98\x20\x63a:1"},
	{"indefinite map", "\xbf\x61a\x63a:1\xff"}, {"indefinite array", "\xa1\x61a\x9f\x63a:1\xff"},
	{"indefinite text", "\xa1\x61a\x7f\x63a:1\xff"}, {"break", "\xa1\x61a\xff"}, {"reserved length", "\xa1\x61a\x7c"},
	{"number for a key", "\xa2\x61a\x63a:1\x01\x02"}, {"bytes for a key", "\xa2\x61a\x63a:1\x41b\x02"},
	{"other tag", "\xa2\x61a\x63a:1\x61b\xc1\x00"}, {"tag 42 on text", "\xa2\x61a\x63a:1\x61b\xd8\x2a\x61c"},
	{"$type without a value", "\xa2\x61a\x63a:1\x65$type"}, {"tag 42 at the end", "\xa2\x61a\x63a:1\x61b\xd8\x2a"},
	{"tag 42 truncated", "\xa2\x61a\x63a:1\x61b\xd8\x2a\x45\x00"},
	{"unknown simple value", "\xa2\x61a\x63a:1\x61b\xe0"},
	{"unknown simple value in two bytes", "\xa2\x61a\x63a:1\x61b\xf8\xff"},
	{"deep, truncated", "\xa1\x61a\x81\x81\x81\x81"}, {"deep, false count", "\xa1\x61a\x81\x81\x81\x84\x00\x00"},
	{"deep, false counts", "\xa1\x61a\x81\x81\x82\x82\x00\x00"}, {"deep, indefinite", "\xa1\x61a\x81\x81\x81\x9f\xff"},
	{"deep, other tag", "\xa1\x61a\x81\x81\x81\xc1\x00"},
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, record string, read func(*Extractor, []byte) ([]Link, error)) {
		for _, limits := range []Limits{{}, {MaxDepth: 2}} {
			x := New(limits)
			links, err := read(x, []byte(record))
			var malformed *Malformed
			if !errors.As(err, &malformed) || links != nil {
				t.Errorf("%+v: got %q, %v", limits, pairs(links), err)
				continue
			}
			if want := fmt.Sprintf("%s at byte %d", malformed.Reason, malformed.Offset); !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %q lacks %q", limits, err, want)
			}
			if malformed.Offset < 0 || malformed.Offset > len(record) {
				t.Errorf("%+v: %v, of %d bytes", limits, err, len(record))
			}
			if x.Dropped() != (Dropped{}) {
				t.Errorf("%+v: dropped %+v from a record that gives no links at all", limits, x.Dropped())
			}
			// The next record is none the worse for it.
			if links, err := x.JSON([]byte(`{"a":"a:1"}`)); err != nil || fmt.Sprint(pairs(links)) != "[{a a:1}]" {
				t.Errorf("%+v: next record gives %q, %v", limits, pairs(links), err)
			}
		}
	}
	for _, x := range malformedJSON {
		t.Run("json/"+x.name, func(t *testing.T) {
			t.Parallel()
			check(t, x.record, (*Extractor).JSON)
		})
	}
	for _, x := range malformedCBOR {
		t.Run("cbor/"+x.name, func(t *testing.T) {
			t.Parallel()
			check(t, x.record, (*Extractor).CBOR)
		})
	}
}
