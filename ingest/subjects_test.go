package ingest

import (
	"strings"
	"testing"

	"weft.dev/weft/link"
)

func TestSubjects(t *testing.T) {
	t.Parallel()
	const alice, bob = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:bob.example"
	const list = "at://" + bob + "/app.bsky.graph.list/3k"
	for _, tc := range []struct {
		name    string
		list    []string
		in, out []string
	}{
		{"an account", []string{alice}, []string{alice, "at://" + alice, "at://" + alice + "/app.bsky.feed.post/3k",
			"at://" + alice + "?x", "at://" + alice + "#a/b"},
			[]string{bob, alice + "a", "at://" + alice + "a/app.bsky.feed.post/3k", "https://example.org/?" + alice,
				"x:" + alice}},
		{"a record", []string{list}, []string{list, list + "/more", list + "?a=b/c", list + "#a"},
			[]string{list + "z", "at://" + bob + "/app.bsky.graph.list", "at://" + bob, bob,
				"at://" + alice + "/app.bsky.graph.list/3k", "at://" + bob + "/app.bsky.graph.list?/3k"}},
		{"a collection of an account", []string{"at://" + bob + "/app.bsky.graph.list/"},
			[]string{list, "at://" + bob + "/app.bsky.graph.list"},
			[]string{"at://" + bob + "/app.bsky.graph.listitem/3k", "at://" + bob}},
		{"a repo", []string{"at://" + bob}, []string{"at://" + bob, list}, []string{bob}},
		{"a repo by its handle", []string{"at://Bob.Example"}, []string{"at://bob.example/app.bsky.feed.post/3k"},
			[]string{"at://" + bob, "at://bob.example.org"}},
		{"a host", []string{"Example.ORG"}, []string{"https://example.org/", "http://example.org/x?y#z",
			"https://example.org:8080/", "https://me@example.org/"},
			[]string{"https://www.example.org/", "https://example.org.evil.example/", "https://evil.example/@example.org",
				"ftp://example.org/", "https://evilexample.org/", "did:web:example.org", "at://example.org"}},
		{"all below a host", []string{"*.example.org"}, []string{"https://www.example.org/", "https://a.b.example.org/"},
			[]string{"https://example.org/", "https://evilexample.org/", "https://example.org.evil.example/"}},
		{"a host that isn't ASCII", []string{"bücher.example", "*.bücher.example"},
			[]string{"https://bücher.example/", "https://xn--bcher-kva.example/", "https://a.bücher.example/"},
			[]string{"https://bucher.example/"}},
		{"an address", []string{"[2001:DB8::1]"}, []string{"https://[2001:db8::1]:8443/"},
			[]string{"https://[2001:db8::2]/"}},
		{"several", []string{alice, list, "example.org"}, []string{alice, list, "https://example.org/"},
			[]string{bob, "https://example.com/"}},
	} {
		normal, err := NormalSubjects(tc.list)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		s := newSubjects(normal)
		for _, raw := range tc.in {
			if target, kind := link.Parse(raw); kind == link.None || !s.has(target) {
				t.Errorf("%s lacks %s", tc.name, raw)
			}
		}
		for _, raw := range tc.out {
			if target, kind := link.Parse(raw); kind == link.None || s.has(target) {
				t.Errorf("%s has %s", tc.name, raw)
			}
		}
		again, err := NormalSubjects(normal)
		if err != nil || strings.Join(again, " ") != strings.Join(normal, " ") {
			t.Errorf("%s: %q is normally %q, %v", tc.name, normal, again, err)
		}
	}
	for _, bad := range []string{"", "word", "*.", "*", "example.org/x", "https://example.org/x", "https://example.org/",
		"example.org:80", "@alice.example", "user@example.org",
		list + "#a", list + "?a", "did:plc", "at://", "*.[2001:db8::1]", "a b.example", "mailto:a@example.org",
		"example.org?x", "example.org#x"} {
		if normal, err := NormalSubjects([]string{bad}); err == nil {
			t.Errorf("%q is the subject %q", bad, normal)
		}
	}
	if all := newSubjects(nil); !all.has("x:y") {
		t.Error("no subjects select nothing")
	}
	many := make([]string, MaxSubjects+1)
	for i := range many {
		many[i] = "did:web:a" + strings.Repeat("b", i%50) + string(link.AppendTID(nil, uint64(i))) + ".example"
	}
	if _, err := NormalSubjects(many); err == nil {
		t.Error("too many subjects pass")
	}
}

// FuzzSubjects compares the set with a check of each subject alone.
func FuzzSubjects(f *testing.F) {
	f.Add("did:web:a.example example.org *.example.org at://did:web:b.example/a.b.c", "at://did:web:b.example/a.b.c/d?e/f")
	f.Add("*.a.b.c.example *.example", "https://x@y.a.b.c.example:8/z")
	f.Fuzz(func(t *testing.T, list, raw string) {
		normal, err := NormalSubjects(strings.Fields(list))
		target, kind := link.Parse(raw)
		if err != nil || len(normal) == 0 || kind == link.None {
			return
		}
		want := false
		for _, s := range normal {
			want = want || selects(s, target)
		}
		if got := newSubjects(normal).has(target); got != want {
			t.Errorf("%q has %q: %t, want %t", normal, target, got, want)
		}
	})
}

// selects reports whether a single subject selects a target.
func selects(subject, target string) bool {
	below := func(prefix string) bool {
		rest, ok := strings.CutPrefix(target, prefix)
		return ok && (rest == "" || strings.ContainsAny(rest[:1], "/?#"))
	}
	host := link.WebHost(target)
	switch {
	case strings.HasPrefix(subject, "did:"):
		return target == subject || below("at://"+subject)
	case strings.HasPrefix(subject, "at://"):
		return below(subject)
	case strings.HasPrefix(subject, "*."):
		return strings.HasSuffix(host, subject[1:])
	default:
		return host == subject
	}
}

func BenchmarkSubjects(b *testing.B) {
	list := make([]string, 0, 1000)
	for i := range uint64(1000) {
		list = append(list, "did:plc:"+strings.Repeat("a", 11)+string(link.AppendTID(nil, i)))
	}
	s := newSubjects(list)
	target := "at://did:plc:bbbbbbbbbbbbbbbbbbbbbbbb/app.bsky.feed.post/3mdtsyunhbu22"
	b.ReportAllocs()
	for b.Loop() {
		if s.has(target) {
			b.Fatal("it has a stranger's record")
		}
	}
}
