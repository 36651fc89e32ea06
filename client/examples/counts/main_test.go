package main

import (
	"fmt"
	"strings"
	"testing"

	"weft.dev/weft/client/examples/exampletest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	x := exampletest.Start(t)
	post := func(i int) string { return fmt.Sprintf("at://did:plc:alice/app.bsky.feed.post/3k%d", i) }
	var stdin, want strings.Builder
	for i := range 300 { // 1,200 counts are two calls
		fmt.Fprintln(&stdin, post(i))
		likes, replies := 0, 0
		if i%100 == 7 {
			likes, replies = 2, 1
			x.Link(t, "did:plc:bob", "app.bsky.feed.like:subject.uri", post(i))
			x.Link(t, "did:plc:carol", "app.bsky.feed.like:subject.uri", post(i))
			x.Link(t, "did:plc:bob", "app.bsky.feed.post:reply.parent.uri", post(i))
		}
		fmt.Fprintf(&want, "%s  %d likes  0 reposts  %d replies  0 quotes\n", post(i), likes, replies)
	}
	var stdout strings.Builder
	err := run(t.Context(), []string{x.URL}, strings.NewReader(stdin.String()), &stdout)
	if err != nil || stdout.String() != want.String() {
		t.Errorf("%v\n%s", err, stdout.String())
	}
}
