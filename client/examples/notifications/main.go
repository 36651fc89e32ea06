// Command notifications prints the links to an account or to its records: the newest twenty links, then each new one.
//
//	go run weft.dev/weft/client/examples/notifications https://weft.example did:plc:…
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "notifications:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: notifications URL-OF-A-WEFT DID")
	}
	did := args[1]
	c := client.New(args[0])
	page, err := c.AccountLinksPage(ctx, client.AccountQuery{DID: did, Limit: 20}, "")
	if err != nil {
		return err
	}
	for _, l := range slices.Backward(page.Items) {
		show(stdout, did, l.Time, l.Record.DID, l.Source, l.Subject)
	}
	// The stream begins at the log row of the page: no link is missing between them.
	for e, err := range c.Events(ctx, client.Filter{SubjectDIDs: []string{did}}, page.Seq) {
		if err != nil {
			return err
		}
		for _, l := range e.Added {
			show(stdout, did, e.Time, e.DID, l.Source, l.Subject)
		}
	}
	return nil
}

// words are descriptions of links by source; other sources are printed as they are.
var words = map[string]string{
	"app.bsky.feed.like:subject.uri":      "likes",
	"app.bsky.feed.repost:subject.uri":    "reposts",
	"app.bsky.feed.post:reply.parent.uri": "replies to",
	"app.bsky.feed.post:embed.record.uri": "quotes",
	"app.bsky.graph.follow:subject":       "follows",
	"app.bsky.graph.listitem:subject":     "lists",
}

func show(w io.Writer, of string, at time.Time, by, source, subject string) {
	if by == of {
		return // the account's own links, such as its replies to itself
	}
	word, ok := words[source]
	if !ok {
		word = "links to (" + source + ")"
	}
	what := "you"
	if strings.HasPrefix(subject, "at://") {
		what = subject
	}
	fmt.Fprintf(w, "%s  %s %s %s\n", at.UTC().Format(time.DateTime), by, word, what)
}
