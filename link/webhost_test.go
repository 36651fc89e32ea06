package link

import "testing"

func TestWebHost(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://example.org":                     "example.org",
		"http://EXAMPLE.org:8080/x?y#z":           "example.org",
		"https://user:secret@example.org/a@b.org": "example.org",
		"https://bücher.example/x":                "xn--bcher-kva.example",
		"https://[2001:DB8::1]:8443/":             "[2001:db8::1]",
		"https://example.org?x=https://b.example": "example.org",
		"ftp://example.org/":                      "",
		"at://example.org/app.bsky.feed.post/3k":  "",
		"did:web:example.org":                     "",
		"mailto:a@example.org":                    "",
	} {
		uri, kind := Parse(raw)
		if kind == None {
			t.Errorf("%q is no link", raw)
		}
		if got := WebHost(uri); got != want {
			t.Errorf("the host of %q is %q, want %q", uri, got, want)
		}
	}
}
