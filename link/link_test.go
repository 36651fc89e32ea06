package link

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type vector struct {
	In  string
	Out *string
}

func readVectors(t testing.TB) (v struct {
	AtURI []vector `json:"at_uri"`
	DID   []vector `json:"did"`
	URI   []vector `json:"uri"`
}) {
	t.Helper()
	raw, err := os.ReadFile("testdata/links.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectors(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	for _, group := range []struct {
		kind    Kind
		vectors []vector
	}{{AtURI, v.AtURI}, {DID, v.DID}, {URI, v.URI}} {
		if len(group.vectors) == 0 {
			t.Errorf("no vectors of kind %v", group.kind)
		}
		for _, x := range group.vectors {
			t.Run(group.kind.String()+"/"+x.In, func(t *testing.T) {
				t.Parallel()
				got, kind := Parse(x.In)
				switch {
				case x.Out == nil && kind == group.kind:
					t.Errorf("Parse(%q) = %q, want no link of kind %v", x.In, got, kind)
				case x.Out != nil && (got != *x.Out || kind != group.kind):
					t.Errorf("Parse(%q) = %q, %v; want %q, %v", x.In, got, kind, *x.Out, group.kind)
				}
			})
		}
	}
}

const (
	none = "" // the result for a string that isn't a link
	did  = "did:plc:hdhoaan3xa3jiuq4fg4mefid"
)

var parseTests = []struct {
	name, in, want string
	kind           Kind
}{
	{"did is verbatim", "did:web:Example.COM%3a80", "did:web:Example.COM%3a80", DID},
	{"did url", did + "#atproto", none, None},
	{"did with a path", did + "/x", none, None},
	{"did scheme in capitals", "DID:plc:abc", none, None},
	{"did that ends in an escape sign", "did:web:x%", none, None},
	{"did of 2048 bytes", "did:m:" + strings.Repeat("v", 2042), "did:m:" + strings.Repeat("v", 2042), DID},
	{"did of 2049 bytes", "did:m:" + strings.Repeat("v", 2043), none, None},

	{"at-uri handle in capitals", "aT://Alice.Example.COM/A", "at://alice.example.com/A", AtURI},
	{"at-uri did with capitals", "at://did:web:Example.com", "at://did:web:Example.com", AtURI},
	{"at-uri did with an escape", "at://did:web:localhost%3a80/x", "at://did:web:localhost%3a80/x", AtURI},
	{"at-uri slash at the end", "at://" + did + "/a.b.c/", "at://" + did + "/a.b.c", AtURI},
	{"at-uri lone slash", "at://" + did + "/", "at://" + did, AtURI},
	{"at-uri empty segments", "at://" + did + "//a///b", "at://" + did + "/a/b", AtURI},
	{"at-uri dots above the root", "at://" + did + "/../../a/./b/..", "at://" + did + "/a", AtURI},
	{"at-uri escaped dots", "at://" + did + "/a/%2e%2E/b", "at://" + did + "/b", AtURI},
	{"at-uri odd record key", "at://" + did + "/a.b.c/a@b/c", "at://" + did + "/a.b.c/a@b/c", AtURI},
	{"at-uri slash before the query", "at://" + did + "/?q", "at://" + did + "?q", AtURI},
	{"at-uri query and fragment", "at://" + did + "/a?b=/../%7e#/c?d", "at://" + did + "/a?b=/../~#/c?d", AtURI},
	{"at-uri not ascii", "at://" + did + "/é", "at://" + did + "/%C3%A9", AtURI},
	{"at-uri without authority", "at://", none, None},
	{"at-uri with an empty authority", "at:///a", none, None},
	{"at-uri invalid did", "at://did:plc:", none, None},
	{"at-uri did in capitals", "at://DID:plc:abc", none, None},
	{"at-uri one label", "at://name", none, None},
	{"at-uri ip address", "at://127.0.0.1", none, None},
	{"at-uri port", "at://example.com:80", none, None},
	{"at-uri at sign", "at://@example.com", none, None},
	{"at-uri escaped authority", "at://ex%61mple.com", none, None},
	{"at-uri space at the end", "at://" + did + " ", none, None},
	{"at-uri bad escape in the fragment", "at://" + did + "#%", none, None},
	{"scheme at without slashes", "at:" + did, "at:" + did, URI},
	{"scheme at, dots before slashes", "at:/a/..//" + did, "at:/.//" + did, URI},

	{"scheme with all characters", "A1+-.:x", "a1+-.:x", URI},
	{"one letter each", "a:b", "a:b", URI},
	{"nothing after the colon", "https:", none, None},
	{"scheme begins with a digit", "1a:b", none, None},
	{"scheme begins with a letter beyond ascii", "é:b", none, None},
	{"no scheme", "//example.com/a", none, None},
	{"prose", "note: this is prose", none, None},
	{"space at the end", "https://example.com ", none, None},
	{"newline at the end", "https://example.com\n", none, None},
	{"nul", "https://example.com/\x00", none, None},
	{"delete character", "https://example.com/\x7f", none, None},
	{"control character beyond ascii", "https://example.com/\u0085", none, None},
	{"space beyond ascii", "https://example.com/\u3000a", none, None},
	{"invalid utf-8", "https://example.com/\xff", none, None},
	{"truncated utf-8", "https://example.com/\xe3\x81", none, None},
	{"surrogate", "https://example.com/\xed\xa0\x80", none, None},
	{"replacement character", "https://example.com/\ufffd", "https://example.com/%EF%BF%BD", URI},
	{"iri path", "https://example.com/wiki/日本?q=é#ü", "https://example.com/wiki/%E6%97%A5%E6%9C%AC?q=%C3%A9#%C3%BC",
		URI},
	{"web host beyond ascii", "https://bücher.example", "https://xn--bcher-kva.example/", URI},
	{"web host beyond ascii, escaped", "https://B%c3%bccher.example", "https://xn--bcher-kva.example/", URI},
	{"web host beyond ascii, decomposed", "https://BU\u0308CHER.example/x", "https://xn--bcher-kva.example/x", URI},
	{"web host in punycode, capitals", "https://XN--BCHER-KVA.Example/X", "https://xn--bcher-kva.example/X", URI},
	{"web host in punycode that is none", "https://xn--a.example/", "https://xn--a.example/", URI},
	{"web host with sharp s", "https://faß.example/", "https://xn--fa-hia.example/", URI},
	{"web host of a symbol", "https://i❤.example/", "https://xn--i-7iq.example/", URI},
	{"web host with ideographic dots", "https://例。テスト．example｡/", "https://xn--fsq.xn--zckzah.example./",
		URI},
	{"web host in fullwidth", "https://ＥＸＡＭＰＬＥ.org:443", "https://example.org/", URI},
	{"web host with an underscore", "https://_ü.example/", "https://xn--_-eha.example/", URI},
	{"web host that would get a slash", "https://a／b.example/", "https://a%EF%BC%8Fb.example/", URI},
	{"web host that would get an escape", "https://a％2fb.example/", "https://a%EF%BC%852fb.example/", URI},
	{"web host that would vanish", "https://\u00ad/", "https://%C2%AD/", URI},
	{"web host of an escaped slash and beyond ascii", "https://Ü%2f.example/", "https://%C3%9C%2F.example/", URI},
	{"web host escaped twice", "https://ü%2541.example/", "https://%C3%BC%2541.example/", URI},
	{"web host of bytes that are no text", "https://%ff.example/", "https://%FF.example/", URI},
	{"web host against the bidi rule", "https://1\u05d0a.example/", "https://1%D7%90a.example/", URI},
	{
		"web host longer than any name",
		"https://" + strings.Repeat("ü", 513) + "/", "https://" + strings.Repeat("%C3%BC", 513) + "/", URI,
	},
	{"host beyond ascii of another scheme", "gemini://bücher.example", "gemini://b%C3%BCcher.example", URI},
	{"no default port", "http://EXAMPLE.com:80?x#y", "http://example.com/?x#y", URI},
	{"default port of the other scheme", "http://example.com:443", "http://example.com:443/", URI},
	{"default port of another scheme", "ftp://example.com:21", "ftp://example.com:21", URI},
	{"user and default port", "https://me@example.com:443/a", "https://me@example.com/a", URI},
	{"empty query and no path", "https://example.com?", "https://example.com/?", URI},
	{"empty fragment and no path", "https://example.com#", "https://example.com/#", URI},
	{"dots alone", "https://EXAMPLE.com/./", "https://example.com/", URI},
	{"page with www is another", "https://www.example.com/", "https://www.example.com/", URI},
	{"page with tracking is another", "https://example.com/?utm_source=a", "https://example.com/?utm_source=a", URI},
	{"host with a dot at its end is another", "https://example.com./", "https://example.com./", URI},
	{"iri without authority", "mailto:é@example.com", "", None},
	{"prose", "Q:なんで？", "", None},
	{"http without authority", "http:example.com", none, None},
	{"http without host", "https:///a", none, None},
	{"http with a port only", "https://:80/", none, None},
	{"file without host", "file:///A/../b", "file:///b", URI},
	{"authority is all", "go://", "go://", URI},
	{"userinfo", "ftp://Me:Pa%3ass@Example.COM:21/", "ftp://Me:Pa%3Ass@example.com:21/", URI},
	{"bracket in the userinfo", "https://a[b@c/", none, None},
	{"two at signs", "https://a@b@c/", none, None},
	{"empty port", "https://example.com:/a", "https://example.com/a", URI},
	{"port in letters", "https://example.com:http/", none, None},
	{"port below zero", "https://example.com:-1/", none, None},
	{"escapes in the host", "https://%45xample.com%2f/", "https://example.com%2F/", URI},
	{"space in the host", "https://exa mple.com/", none, None},
	{"brackets in the host", "https://exa[mple].com/", none, None},
	{"ipv6", "http://[2001:DB8:0:0::0001]:80/", "http://[2001:db8::1]/", URI},
	{"ipv6 with ipv4", "http://[::FFFF:1.2.3.4]:8080", "http://[::ffff:1.2.3.4]:8080/", URI},
	{"ipv6 zone", "http://[fe80::1%25eth0]/", none, None},
	{"ipv4 in brackets", "http://[1.2.3.4]/", none, None},
	{"ipv6 unclosed", "http://[::1/", none, None},
	{"ipv6 and more", "http://[::1]a/", none, None},
	{"empty brackets", "http://[]/", none, None},
	{"address of the future", "http://[vF.A:b]/", "http://[vf.a:b]/", URI},
	{"address of the future without version", "http://[v.a]/", none, None},
	{"address of the future without address", "http://[v1.]/", none, None},
	{"address of the future in a strange version", "http://[vx.a]/", none, None},
	{"escapes", "https://example.com/%7Ea%2fb%2F?%41=%3d#%5b", "https://example.com/~a%2Fb%2F?A=%3D#%5B", URI},
	{"escaped nul", "https://example.com/%00", "https://example.com/%00", URI},
	{"escapes of escapes", "https://example.com/%25%34%31", "https://example.com/%2541", URI},
	{"bad escape", "https://example.com/100%", none, None},
	{"bad escape in the query", "https://example.com/?a=%zz", none, None},
	{"dots", "https://example.com/a/./b/../c/..", "https://example.com/a/", URI},
	{"dot at the end", "https://example.com/a/.", "https://example.com/a/", URI},
	{"dots in names", "https://example.com/.a/..b/c../...", "https://example.com/.a/..b/c../...", URI},
	{"escaped dots", "https://example.com/a/%2e%2E/b", "https://example.com/b", URI},
	{"dots over empty segments", "https://example.com/a//../b", "https://example.com/a/b", URI},
	{"empty segments stay", "https://example.com//a//", "https://example.com//a//", URI},
	{"dots in query and fragment", "https://example.com/?/../#/../", "https://example.com/?/../#/../", URI},
	{"dots in an opaque path", "urn:a/../b", "urn:a/../b", URI},
	{"dots before slashes", "x:/a/..//b", "x:/.//b", URI},
	{"dots before slashes, normal", "x:/.//b", "x:/.//b", URI},
	{"empty query and fragment", "https://example.com/?#", "https://example.com/?#", URI},
	{"two fragments", "https://example.com/#a#b", none, None},
	{"brackets and bars of the browser", "https://example.com/{a}|b^`\"<>?c[]=1#[d]",
		"https://example.com/%7Ba%7D%7Cb%5E%60%22%3C%3E?c%5B%5D=1#%5Bd%5D", URI},
	{"brackets without authority", "note:<b>", none, None},
	{"backslash", `https://example.com\a`, none, None},
	{"backslash in the path", `https://example.com/\a`, none, None},
	{"8192 bytes", "https://a.example/" + strings.Repeat("x", 8174), "https://a.example/" + strings.Repeat("x", 8174),
		URI},
	{"8193 bytes", "https://example.com/" + strings.Repeat("x", 8173), none, None},
	{"8192 bytes and no path", "https://" + strings.Repeat("x", 8184), none, None},
	{"8193 bytes when normal", "a:é" + strings.Repeat("x", 8185), none, None},
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, x := range parseTests {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			got, kind := Parse(x.in)
			if got != x.want || kind != x.kind {
				t.Errorf("Parse(%q) = %q, %v; want %q, %v", x.in, got, kind, x.want, x.kind)
			}
			checkAppend(t, x.in)
		})
	}
}

// checkAppend checks the invariants of any input: the form of the output, idempotence, and that Append and Parse agree.
func checkAppend(t *testing.T, in string) {
	t.Helper()
	const before = "before"
	dst, kind := Append([]byte(before), []byte(in))
	if !strings.HasPrefix(string(dst), before) {
		t.Fatalf("Append(%q) overwrote dst: %q", in, dst)
	}
	out := string(dst[len(before):])
	if parsed, k := Parse(in); parsed != out || k != kind {
		t.Errorf("Append(%q) = %q, %v but Parse gives %q, %v", in, out, kind, parsed, k)
	}
	if kind == None {
		if out != "" {
			t.Errorf("Append(%q) appended %q for a string that isn't a link", in, out)
		}
		return
	}
	if len(out) > MaxLen {
		t.Errorf("Append(%q) appended %d bytes", in, len(out))
	}
	for i := range len(out) {
		if out[i] <= ' ' || out[i] >= 0x7f {
			t.Errorf("Append(%q) = %q has byte %#x", in, out, out[i])
		}
	}
	if atURI := strings.HasPrefix(out, "at://"); atURI != (kind == AtURI) || ValidDID(out) != (kind == DID) {
		t.Errorf("Append(%q) = %q isn't of the kind %v", in, out, kind)
	}
	if again, k := Append(nil, []byte(out)); string(again) != out || k != kind {
		t.Errorf("Append(%q) = %q, %v; appending that gives %q, %v", in, out, kind, again, k)
	}
}

func TestParseReturnsNormalInputItself(t *testing.T) {
	for _, in := range []string{did, "at://" + did + "/a.b.c/d", "at://alice.example.com/a.b.c/d",
		"https://example.com/"} {
		if n := testing.AllocsPerRun(100, func() { Parse(in) }); n != 0 {
			t.Errorf("Parse(%q) allocates %v times", in, n)
		}
	}
}

func FuzzAppend(f *testing.F) {
	for _, x := range parseTests {
		f.Add(x.in)
	}
	v := readVectors(f)
	for _, group := range [][]vector{v.AtURI, v.DID, v.URI} {
		for _, x := range group {
			f.Add(x.In)
		}
	}
	f.Fuzz(checkAppend)
}

func BenchmarkAppend(b *testing.B) {
	for _, x := range []struct{ name, in string }{
		{"at-uri", "at://did:plc:vfnmgxg2yscfliemmcxzyfyh/app.bsky.feed.post/3mmoodizfwc2j"},
		{"did", "did:plc:anc6s2kher6ltrhhglxrzxsa"},
		{"https", "https://www.youtube.com/watch?v=V5lDo-jw8mA"},
		{"page", "https://example.com"},
		{"idn", "https://bücher.example/x"},
		{"iri", "https://ja.wikipedia.org/wiki/日本/../語"},
		{"language", "en"},
		{"sentence", "Try RSV for a good time !!"},
		{"cid", "bafyreiainko5un5pbcdosvxpbisjnjzemojnry6nsgtdftdgslbu37kxai"},
		{"time", "2026-05-25T14:23:28.757Z"},
	} {
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			in, dst := []byte(x.in), make([]byte, 0, 256)
			for b.Loop() {
				Append(dst, in)
			}
		})
	}
}
