package client_test

import (
	"fmt"
	"testing"
	"time"

	"weft.dev/weft/client"
	"weft.dev/weft/db"
)

func TestTimeline(t *testing.T) {
	t.Parallel()
	w := start(t)
	for i := range 25 {
		w.like(t, db.OpCreate, fmt.Sprint("did:plc:n", i), "k")
	}
	c, ctx := client.New(w.URL), t.Context()
	got, err := c.Timeline(ctx, post, 5, likes)
	// Of 25 links, one a second from the first second on, in spans of no more than five.
	if err != nil || got.Span != 15*time.Second || !got.From.Equal(time.Unix(1_770_000_000, 0)) || fmt.Sprint(got.Sources) != "[{"+likes+" 25 0 [14 11]}]" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = c.Timeline(ctx, "did:plc:nobody", 0, likes); err != nil || !got.From.IsZero() || got.Sources[0].Total != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.Timeline(ctx, post, 0); err == nil {
		t.Error("no source, and no error")
	}
	links, err := c.RecordLinks(ctx, "did:plc:n0", "app.bsky.feed.like", "k")
	if err != nil || len(links) != 1 || links[0] != (client.Forward{Source: likes, Subject: post}) {
		t.Errorf("%v, %v", links, err)
	}
}
