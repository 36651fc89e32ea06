package main

import (
	"context"
	"io"
	"slices"
	"testing"

	"weft.dev/weft/client/examples/exampletest"
)

// TestRun: existing and new links are printed once, in order.
func TestRun(t *testing.T) {
	t.Parallel()
	x := exampletest.Start(t)
	const alice, post = "did:plc:alice", "at://did:plc:alice/app.bsky.feed.post/3k"
	x.Link(t, "did:plc:bob", "app.bsky.graph.follow:subject", alice)
	x.Link(t, "did:plc:bob", "app.bsky.feed.like:subject.uri", "at://did:plc:dave/app.bsky.feed.post/3k")
	x.Link(t, alice, "app.bsky.feed.post:reply.parent.uri", post)
	x.Link(t, "did:plc:carol", "app.bsky.feed.like:subject.uri", post)
	var got []string
	run := func(ctx context.Context, w io.Writer) error { return run(ctx, []string{x.URL, alice}, w) }
	exampletest.Lines(t, run, func(line string) bool {
		got = append(got, line[len("2026-01-01 00:00:00  "):])
		if len(got) == 2 {
			x.Link(t, "did:plc:bob", "app.bsky.feed.like:subject.uri", "https://example.org/")
			x.Link(t, "did:plc:bob", "app.bsky.feed.repost:subject.uri", post)
			x.Link(t, "did:plc:bob", "com.example.thing:about", alice)
		}
		return len(got) < 4
	})
	want := []string{"did:plc:bob follows you", "did:plc:carol likes " + post, "did:plc:bob reposts " + post,
		"did:plc:bob links to (com.example.thing:about) you"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
