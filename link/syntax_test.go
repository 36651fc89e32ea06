package link

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// lines returns the lines of an interop syntax file without comments and empty lines.
func lines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		if s := scan.Text(); s != "" && !strings.HasPrefix(s, "#") {
			out = append(out, s)
		}
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no lines", name)
	}
	return out
}

func TestInteropSyntax(t *testing.T) {
	t.Parallel()
	isKind := func(want Kind) func(string) bool {
		return func(s string) bool {
			got, kind := Parse(s)
			return kind == want && got == s
		}
	}
	for _, x := range []struct {
		name  string
		valid func(string) bool
	}{
		{"did", ValidDID},
		{"nsid", ValidNSID},
		{"recordkey", ValidRecordKey},
		{"handle", ValidHandle},
		{"tid", func(s string) bool { _, ok := ParseTID(s); return ok }},
		{"aturi", isKind(AtURI)},
		{"uri", func(s string) bool { _, kind := Parse(s); return kind != None }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range lines(t, x.name+"_syntax_valid.txt") {
				if !x.valid(s) {
					t.Errorf("%q is valid", s)
				}
			}
			for _, s := range lines(t, x.name+"_syntax_invalid.txt") {
				// Links are wider than the at-uri syntax: any path is valid, and other spellings are normalised.
				if x.name == "aturi" && linksAnyway(s) {
					continue
				}
				if x.valid(s) {
					t.Errorf("%q is not valid", s)
				}
			}
		})
	}
}

// linksAnyway reports whether an invalid at-uri of the interop files is a link nevertheless: it has a valid DID, and
// the rest is valid in a URI.
func linksAnyway(s string) bool {
	rest, ok := strings.CutPrefix(s, "at://")
	i := strings.IndexAny(rest, "/?#")
	return ok && i >= 0 && ValidDID(rest[:i]) &&
		!strings.Contains(s, " ") && !strings.Contains(s, "p%st") && len(s) <= MaxLen
}

func TestDIDsParse(t *testing.T) {
	t.Parallel()
	for _, s := range lines(t, "did_syntax_valid.txt") {
		if got, kind := Parse(s); got != s || kind != DID {
			t.Errorf("Parse(%q) = %q, %v", s, got, kind)
		}
	}
	for _, s := range lines(t, "did_syntax_invalid.txt") {
		if got, kind := Parse(s); kind == DID || kind == URI && strings.HasPrefix(got, "did:") {
			t.Errorf("Parse(%q) = %q, %v", s, got, kind)
		}
	}
}

func TestSyntaxLimits(t *testing.T) {
	t.Parallel()
	domain253 := "com." + strings.Repeat("middle.", 35) + "foo1" // 4 + 245 + 4 bytes
	for _, x := range []struct {
		name string
		got  bool
		want bool
	}{
		{"nsid of 317", ValidNSID(domain253 + "." + strings.Repeat("n", 63)), true},
		{"nsid of 318", ValidNSID(domain253 + "x." + strings.Repeat("n", 63)), false},
		{"nsid with a domain of 254", ValidNSID(domain253 + "x.n"), true},
		{"nsid with a name of 64", ValidNSID("a.b." + strings.Repeat("n", 64)), false},
		{"nsid that begins with a digit", ValidNSID("1.b.c"), false},
		{"nsid empty", ValidNSID(""), false},
		{"nsid of dots", ValidNSID(".."), false},
		{"record key empty", ValidRecordKey(""), false},
		{"record key of 512", ValidRecordKey(strings.Repeat("k", 512)), true},
		{"record key of 513", ValidRecordKey(strings.Repeat("k", 513)), false},
		{"did empty", ValidDID(""), false},
		{"did of 2048", ValidDID("did:a:" + strings.Repeat("b", 2042)), true},
		{"did of 2049", ValidDID("did:a:" + strings.Repeat("b", 2043)), false},
	} {
		if x.got != x.want {
			t.Errorf("%s: %v, want %v", x.name, x.got, x.want)
		}
	}
}

func TestSplitRecord(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, in, did, collection, rkey string
		ok                              bool
	}{
		{"account", "at://did:plc:abc", "did:plc:abc", "", "", true},
		{"collection", "at://did:plc:abc/a.b.c", "did:plc:abc", "a.b.c", "", true},
		{"record", "at://did:plc:abc/a.b.c/d:e", "did:plc:abc", "a.b.c", "d:e", true},
		{"escape in the did", "at://did:web:localhost%3A1234/a.b.c/d", "did:web:localhost%3A1234", "a.b.c", "d", true},
		{"handle", "at://example.com/a.b.c/d", "", "", "", false},
		{"slash after the did", "at://did:plc:abc/", "", "", "", false},
		{"slash after the collection", "at://did:plc:abc/a.b.c/", "", "", "", false},
		{"third segment", "at://did:plc:abc/a.b.c/d/e", "", "", "", false},
		{"collection is no nsid", "at://did:plc:abc/a.b/d", "", "", "", false},
		{"record key too long", "at://did:plc:abc/a.b.c/" + strings.Repeat("d", 513), "", "", "", false},
		{"escape", "at://did:plc:abc/a.b.c/d%3A", "", "", "", false},
		{"query", "at://did:plc:abc/a.b.c/d?e", "", "", "", false},
		{"query after the did", "at://did:plc:abc?e", "", "", "", false},
		{"fragment", "at://did:plc:abc/a.b.c/d#e", "", "", "", false},
		{"did alone", "did:plc:abc", "", "", "", false},
		{"empty", "", "", "", "", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			did, collection, rkey, ok := SplitRecord(x.in)
			if did != x.did || collection != x.collection || rkey != x.rkey || ok != x.ok {
				t.Errorf("SplitRecord(%q) = %q, %q, %q, %v", x.in, did, collection, rkey, ok)
			}
		})
	}
}

func FuzzSplitRecord(f *testing.F) {
	f.Add("at://did:plc:abc")
	f.Add("at://did:plc:abc/a.b.c")
	f.Add("at://did:plc:abc/a.b.c/d")
	f.Add("at://did:plc:abc/a.b.c/..")
	f.Fuzz(func(t *testing.T, in string) {
		did, collection, rkey, ok := SplitRecord(in)
		if !ok {
			if did+collection+rkey != "" {
				t.Errorf("SplitRecord(%q) gives parts without ok", in)
			}
			return
		}
		joined := "at://" + did
		if collection != "" {
			joined += "/" + collection
		}
		if rkey != "" {
			joined += "/" + rkey
		}
		if joined != in {
			t.Errorf("SplitRecord(%q) joins to %q", in, joined)
		}
		// SplitRecord accepts only normal forms, so that two spellings can't have the same parts.
		if got, kind := Parse(in); len(in) <= MaxLen && (got != in || kind != AtURI) {
			t.Errorf("SplitRecord accepts %q, which Parse makes %q, %v", in, got, kind)
		}
	})
}
