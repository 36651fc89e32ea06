package web

import (
	"net/url"
	"slices"
	"strings"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/humanize"
)

// This file links pages to their feeds and badges, and gives feeds the wording of the pages.

// feedLink is a link to the feed of a page's links.
type feedLink struct{ Title, Href string }

// feedsOf returns the feeds of the links to a target, the most specific first. source is the page's single source;
// empty: all sources.
func feedsOf(t target, source string) []feedLink {
	href := func(pairs ...string) string { return routes.Feed.Path + "?" + form(pairs...) }
	var feeds []feedLink
	if source != "" {
		title := linksTitle("this "+t.Kind, []string{source})
		feeds = append(feeds, feedLink{title, href("subject", t.Text, "source", source)})
	}
	feeds = append(feeds, feedLink{"Links to this " + t.Kind, href("subject", t.Text)})
	if t.Kind == "account" {
		feeds = append(feeds, feedLink{"Links to this account and all of its records", href("did", t.Text)})
	}
	if host := hostOf(t.Text); host != "" {
		feeds = append(feeds, feedLink{"Links to any page of " + host, href("host", host)})
	}
	return feeds
}

// feedWays returns links from a target's page to its feed, the feed of its site, and its badge.
func feedWays(t target) []way {
	all := feedsOf(t, "")
	ways := []way{{"Feed", all[len(all)-1].Href}}
	if host := hostOf(t.Text); host != "" {
		ways = []way{{"Feed", all[0].Href}, {"Feed of " + host, all[1].Href}}
	}
	return append(ways, way{"Badge", routes.Badge.Path + "?" + form("subject", t.Text)})
}

// linksTitle returns a title for links to something from some sources, in words and followed by the sources: "Likes:
// links to this post (app.bsky.feed.like:subject.uri)". No sources means all.
func linksTitle(about string, sources []string) string {
	var names []string
	others := ""
	for _, text := range sources {
		of := splitSource(text)
		k, known := kindOf(of.Collection, of.Path)
		switch {
		case !known:
			others = ", others"
		case !slices.Contains(names, k.many):
			names = append(names, k.many)
		}
	}
	title := "links to " + about
	if len(names) > 0 {
		title = strings.Join(names, ", ") + others + ": " + title
	}
	if len(sources) > 0 {
		title += " (" + strings.Join(sources, ", ") + ")"
	}
	return humanize.Capital(title)
}

// hostOf returns the host of a web page, with its port; empty for any other target.
func hostOf(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.Host
}

// Words gives feeds the wording of the pages. It implements api.Words.
type Words struct {
	Names Names // nil: accounts have their DIDs
}

// Name returns the handle of an account if it is cached, else its DID.
func (w Words) Name(did string) string {
	if w.Names != nil {
		if name := w.Names.Known(did); name != "" {
			return name
		}
	}
	return did
}

// Verb returns the verb of a link: "likes".
func (Words) Verb(collection, path string) string { return verb(collection, path, false) }

// Title returns the title of a feed of links to something from some sources.
func (Words) Title(about string, sources []string) string { return linksTitle(about, sources) }

// Target shortens a target to a line, with the names of accounts.
func (w Words) Target(target string) string { return targetTextBy(w.shortName, target) }

// What describes a target in words: "a post by alice.example".
func (w Words) What(target string) string { return whatBy(w.shortName, target) }

func (w Words) shortName(did string) string {
	if name := w.Name(did); name != did {
		return name
	}
	return shortDID(did)
}

// Open returns the address of an app that shows a record; empty: none.
func (Words) Open(did, collection, rkey string) string {
	apps := appsOf(did, collection, rkey, nil)
	if len(apps) == 0 {
		return ""
	}
	return apps[0].Href
}
