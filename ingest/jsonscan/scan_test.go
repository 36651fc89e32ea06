package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// FuzzScanner: Skip accepts what encoding/json accepts, and Object finds the members that encoding/json finds.
func FuzzScanner(f *testing.F) {
	for _, text := range []string{
		`{}`, `[]`, `null`, `true`, `-0.5e+7`, `01`, `1.`, `"a"`, `"\u00e9\ud83d\ude00\n"`, `"\ud800"`, `"\x"`, "\"\t\"",
		` { "a" : [ 1 , {"b":null} ] , "c" : "}" } `, `{"a":1,"a":2}`, `{"a"}`, `{"a":1,}`, `[1 2]`, `{"a":[}]`, `{"":{}}x`,
		`{"\u0061":1}`, strings.Repeat(`{"a":[`, 200) + `1` + strings.Repeat(`]}`, 200),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > 9999 {
			t.Skip("encoding/json gives up at 10000 levels")
		}
		var s Scanner
		s.Reset(text)
		end, err := s.Skip(s.Space(0))
		var syntax *SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(text)) {
			t.Fatalf("%q: %v", text, err)
		}
		if valid := err == nil && s.Space(end) == len(text); valid != json.Valid(text) {
			t.Fatalf("%q: valid is %v, error %v", text, valid, err)
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(text, &want) != nil || want == nil {
			return
		}
		got := map[string]json.RawMessage{}
		_, err = s.Object(s.Space(0), func(key []byte, pos int) (int, error) {
			end, err := s.Skip(pos)
			got[string([]rune(string(key)))] = text[pos:end]
			return end, err
		})
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q: %d members in place of %d: %v", text, len(got), len(want), err)
		}
		for key, value := range want {
			if !bytes.Equal(got[key], value) {
				t.Errorf("%q: %q is %q in place of %q", text, key, got[key], value)
			}
		}
	})
}

// TestObjectStops: an error of a member ends Object with it.
func TestObjectStops(t *testing.T) {
	t.Parallel()
	want := errors.New("stop")
	var s Scanner
	s.Reset([]byte(`{"a":1,"b":2}`))
	var keys []string
	_, err := s.Object(0, func(key []byte, pos int) (int, error) {
		keys = append(keys, string(key))
		return pos, want
	})
	if !errors.Is(err, want) || len(keys) != 1 {
		t.Errorf("%v after %q", err, keys)
	}
}
