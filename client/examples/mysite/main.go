// Command mysite prints the links to the pages of a web site: for each page, the number of links of each kind and the
// newest five, then each new link to any page of the sites. Give the addresses as browsers show them.
//
//	go run weft.dev/weft/client/examples/mysite https://weft.example https://example.org/ https://example.org/about
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"time"

	"weft.dev/weft/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "mysite:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) < 2 {
		return errors.New("usage: mysite URL-OF-A-WEFT PAGE…")
	}
	c := client.New(args[0])
	status, err := c.Status(ctx)
	if err != nil {
		return err
	}
	var sites []string
	for _, page := range args[1:] {
		u, err := url.Parse(page)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q is not the address of a page", page)
		}
		site := u.Scheme + "://" + u.Host + "/"
		if !slices.Contains(sites, site) {
			sites = append(sites, site)
		}
		if err := show(ctx, c, page, stdout); err != nil {
			return err
		}
	}
	// The stream begins before the first page's query: a link may be shown twice, but none is missing.
	for e, err := range c.Events(ctx, client.Filter{SubjectPrefixes: sites}, status.Index.LogSeq) {
		if err != nil {
			return err
		}
		for _, l := range e.Added {
			fmt.Fprintf(stdout, "new: %s from at://%s/%s/%s\n", l.Subject, e.DID, e.Collection, e.Rkey)
		}
	}
	return nil
}

// show prints the links to a page.
func show(ctx context.Context, c *client.Client, page string, stdout io.Writer) error {
	sources, err := c.Sources(ctx, page)
	if err != nil {
		return err
	}
	for _, s := range sources {
		fmt.Fprintf(stdout, "%s: from %s (links: %d, accounts: %d)\n", page, s.Source, s.Links, s.DIDs)
		list, err := c.BacklinksPage(ctx, client.Query{Subject: page, Source: s.Source, Limit: 5}, "")
		if err != nil {
			return err
		}
		for _, r := range list.Items {
			fmt.Fprintf(stdout, "  %s  %s\n", r.Time.UTC().Format(time.DateTime), r.URI())
		}
	}
	return nil
}
