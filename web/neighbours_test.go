package web

import (
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/link"
)

// TestNeighbours: other addresses that usually show the same page.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, want string }{
		{"https://example.com/", "http://example.com/ https://www.example.com/ http://www.example.com/"},
		{"http://www.example.com/a", "https://www.example.com/a http://example.com/a https://example.com/a " +
			"http://www.example.com/a/ https://www.example.com/a/ http://example.com/a/ https://example.com/a/"},
		{"https://example.com/a/", "http://example.com/a/ https://www.example.com/a/ http://www.example.com/a/ " +
			"https://example.com/a http://example.com/a https://www.example.com/a http://www.example.com/a"},
		{"https://127.0.0.1/?b", "http://127.0.0.1/?b https://127.0.0.1/ http://127.0.0.1/"},
		{"https://[::1]/", "http://[::1]/"},
		{"https://example.com:8443/", "https://www.example.com:8443/"},
		{"http://localhost/", "https://localhost/"},
		{"https://www.com/", "http://www.com/"},
		{"https://x.test/#f",
			"http://x.test/#f https://www.x.test/#f http://www.x.test/#f https://x.test/ http://x.test/ https://www.x.test/ http://www.x.test/"},
		{"https://user@x.test/a", ""},
		{"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/a.b.c/d", ""},
		{"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", ""},
		{"mailto:a@example.com", ""},
		{"javascript:alert(1)", ""},
		{"", ""},
	} {
		if got := strings.Join(neighboursOf(c.target), " "); got != c.want {
			t.Errorf("%s: %s, not %s", c.target, got, c.want)
		}
	}
	full := neighboursOf("https://example.com/a?b=c#d")
	if len(full) != 15 || !slices.Contains(full, "http://www.example.com/a") ||
		!slices.Contains(full, "https://example.com/a?b=c") ||
		!slices.Contains(full, "https://example.com/a/") {
		t.Errorf("%d: %v", len(full), full)
	}
}

// FuzzNeighbours: neighbours of any target are normalised links, differ from the target, and are few.
func FuzzNeighbours(f *testing.F) {
	for _, target := range []string{"https://example.com/a?b=c#d", "http://www.x/", "https://www./",
		"https://[::1]:80//?#", "https://x.y?a", "https://a@b.c/"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, _ := link.Parse(text)
		all := neighboursOf(target)
		if len(all) > 15 {
			t.Errorf("%q has %d", text, len(all))
		}
		for i, n := range all {
			if normal, kind := link.Parse(n); kind == link.None || normal != n || n == target || slices.Contains(all[:i], n) {
				t.Errorf("%q has %q", target, n)
			}
		}
	})
}
