package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/client/examples/exampletest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	x := exampletest.Start(t)
	const embed = "app.bsky.feed.post:embed.external.uri"
	x.Link(t, "did:plc:bob", embed, "https://example.org/")
	x.Link(t, "did:plc:carol", embed, "https://example.org/")
	x.Link(t, "did:plc:bob", "com.example.bookmark:url", "https://example.org/about")
	x.Link(t, "did:plc:bob", embed, "https://example.com/")
	var got []string
	run := func(ctx context.Context, w io.Writer) error {
		return run(ctx, []string{x.URL, "https://example.org/", "https://Example.org/about"}, w)
	}
	exampletest.Lines(t, run, func(line string) bool {
		if strings.HasPrefix(line, "  ") {
			_, line, _ = strings.Cut(line, "at://")
		}
		got = append(got, line)
		if len(got) == 5 {
			x.Link(t, "did:plc:dave", embed, "https://example.com/")
			x.Link(t, "did:plc:dave", embed, "https://example.org/new")
		}
		return len(got) < 6
	})
	want := []string{
		"https://example.org/: from " + embed + " (links: 2, accounts: 2)", "did:plc:carol/app.bsky.feed.post/r2",
		"did:plc:bob/app.bsky.feed.post/r1",
		"https://Example.org/about: from com.example.bookmark:url (links: 1, accounts: 1)",
		"did:plc:bob/com.example.bookmark/r3",
		"new: https://example.org/new from at://did:plc:dave/app.bsky.feed.post/r6",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
