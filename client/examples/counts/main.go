// Command counts prints the counts that an app shows under posts. It reads at-uris of posts from standard input, one
// per line, and requests their likes, reposts, replies and quotes in one call for each thousand counts.
//
//	go run weft.dev/weft/client/examples/counts https://weft.example < posts.txt
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"weft.dev/weft/client"
)

// sources are the counts under a post.
var sources = []struct{ name, source string }{
	{"likes", "app.bsky.feed.like:subject.uri"},
	{"reposts", "app.bsky.feed.repost:subject.uri"},
	{"replies", "app.bsky.feed.post:reply.parent.uri"},
	{"quotes", "app.bsky.feed.post:embed.record.uri"},
}

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "counts:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: counts URL-OF-A-WEFT < POSTS")
	}
	var posts []string
	var pairs []client.Pair
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		post := strings.TrimSpace(lines.Text())
		if post == "" {
			continue
		}
		posts = append(posts, post)
		for _, s := range sources {
			pairs = append(pairs, client.Pair{Subject: post, Source: s.source})
		}
	}
	counts, err := client.New(args[0]).Counts(ctx, pairs...)
	if err != nil {
		return err
	}
	for i, post := range posts {
		fmt.Fprint(stdout, post)
		for j, s := range sources {
			fmt.Fprintf(stdout, "  %d %s", counts[i*len(sources)+j].Links, s.name)
		}
		fmt.Fprintln(stdout)
	}
	return nil
}
