package api

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// This file answers feeds: the links to a target, an account or a web site, as Atom.

// Words phrases the texts of feeds as the pages do.
type Words interface {
	// Name returns the handle of an account if it is cached, else its DID.
	Name(did string) string
	// Verb returns the verb of a link: "likes".
	Verb(collection, path string) string
	// Title returns the title of a feed of links to something from sources, in the API's spelling; none: from all.
	Title(about string, sources []string) string
	// Target shortens a target to one line.
	Target(target string) string
	// What describes a target in words: "a post by alice.example".
	What(target string) string
	// Open returns the address of an app that shows a record; empty: none.
	Open(did, collection, rkey string) string
}

// plainWords implements Words for a server without pages.
type plainWords struct{}

func (plainWords) Name(did string) string             { return did }
func (plainWords) Verb(string, string) string         { return "links to" }
func (plainWords) Target(target string) string        { return target }
func (plainWords) What(target string) string          { return target }
func (plainWords) Open(string, string, string) string { return "" }

func (plainWords) Title(about string, sources []string) string {
	title := "Links to " + about
	if len(sources) > 0 {
		title += " (" + strings.Join(sources, ", ") + ")"
	}
	return title
}

const (
	// cacheFeed: a feed reader polls every few minutes at most. A crowd of readers of one feed makes one query in this
	// time.
	cacheFeed = "public, max-age=300"
	// maxFeedContents limits the content of a feed's records, in bytes: a hundred long posts. Entries beyond it have no
	// text.
	maxFeedContents = 1 << 20
	// maxSummary limits the text of an entry, in characters: readers show the beginning.
	maxSummary = 2000
	// maxTitle limits the title of an entry, in characters.
	maxTitle = 200
	// maxNamed limits the links of a record that its entry names.
	maxNamed = 3
	// linksPerEntry is the number of links read for each entry: a record often links to an account in several ways.
	linksPerEntry = 2

	typeAtom = "application/atom+xml; charset=utf-8"
)

// subjectOfFeed reads the subject of a feed or a badge: a target, an account, or web hosts.
func (p *params) subjectOfFeed() (q db.FeedQuery) {
	q.Target = p.subject("subject")
	q.DID = p.did("did")
	hosts := p.list("host")
	for _, host := range hosts {
		q.Prefixes = append(q.Prefixes, p.sites("host", host)...)
	}
	slices.Sort(q.Prefixes)
	q.Prefixes = slices.Compact(q.Prefixes)
	for _, text := range p.list("source") {
		q.Sources = append(q.Sources, p.sourceOf("source", text))
	}
	given := 0
	for _, is := range []bool{q.Target != "", q.DID != "", len(hosts) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		p.fail("subject", "is missing: send one of `subject`, `did` and `host`")
	case given > 1:
		p.fail("subject", "can't be combined with `did` or `host`: send one of the three")
	}
	return q
}

// sites returns the address prefixes of a web host's pages.
func (p *params) sites(name, host string) (prefixes []string) {
	for _, scheme := range []string{"https://", "http://"} {
		site, kind := link.Parse(scheme + host + "/")
		rest, ok := strings.CutPrefix(site, scheme)
		if kind == link.None || !ok || strings.ContainsAny(host, `/?#@\`) || strings.IndexByte(rest, '/') != len(rest)-1 {
			p.fail(name, "must be the host of a web site, such as example.org, with a port if it has one of its own")
			return nil
		}
		prefixes = append(prefixes, site)
	}
	return prefixes
}

// feedValues returns the parameters that name a feed, in one spelling.
func feedValues(q db.FeedQuery) url.Values {
	v := url.Values{}
	if q.Target != "" {
		v.Set("subject", q.Target)
	}
	if q.DID != "" {
		v.Set("did", q.DID)
	}
	for _, site := range q.Prefixes {
		if host, ok := strings.CutPrefix(site, "https://"); ok {
			v.Add("host", strings.TrimSuffix(host, "/"))
		}
	}
	for _, source := range q.Sources {
		v.Add("source", sourceText(source))
	}
	return v
}

// feed answers with the newest links as Atom.
func (s *server) feed(ctx context.Context, p *params) (any, error) {
	q := p.subjectOfFeed()
	limit := p.limit()
	if p.err != nil {
		return nil, p.err
	}
	q.Limit = linksPerEntry * limit
	links, err := s.Store.Feed(ctx, q)
	if err != nil {
		return nil, err
	}
	entries := entriesOf(links, limit)
	contents, err := s.contents(ctx, each(entries, func(e feedEntry) db.Record { return e.record }), maxFeedContents)
	if err != nil {
		return nil, err
	}
	for i, c := range contents {
		entries[i].text = recordText(c.Value)
	}
	values := feedValues(q)
	self := feedValues(q)
	if limit != defaultOf(p, "limit") {
		self.Set("limit", strconv.Itoa(limit))
	}
	f := feedWriter{words: s.Words, origin: p.origin()}
	doc := atomFeed{
		ID:    tagPrefix + "feed?" + values.Encode(),
		Title: oneLine(s.Words.Title(f.about(q), each(q.Sources, sourceText)), maxTitle),
		Links: []atomLink{
			{Rel: "self", Type: "application/atom+xml", Href: f.origin + routes.Feed.Path + "?" + self.Encode()},
			{Rel: "alternate", Type: "text/html", Href: f.page(q)},
		},
		Generator: "weft",
		Entries:   each(entries, f.entry),
	}
	a := file{contentType: typeAtom, cache: cacheFeed}
	if len(entries) > 0 {
		a.modified = time.UnixMicro(entries[0].timeUS).UTC()
	}
	// An empty feed has never changed.
	doc.Updated = atomTime(a.modified)
	a.body = doc.encode()
	return a, nil
}

// defaultOf returns the default of a numeric parameter.
func defaultOf(p *params, name string) int {
	n, _ := p.schema(name).Default.(float64)
	return int(n)
}

// feedEntry is a record with its links to the subject of a feed.
type feedEntry struct {
	record db.Record
	timeUS int64
	links  []db.Link
	text   string
}

// entriesOf groups links by record, in their order: a feed reader shows a record with two links once.
func entriesOf(links []db.AccountLink, most int) []feedEntry {
	var entries []feedEntry
	at := map[db.Record]int{}
	for _, l := range links {
		i, ok := at[l.Record]
		if !ok {
			if len(entries) == most {
				continue // a later link of a record that has an entry
			}
			i = len(entries)
			at[l.Record] = i
			entries = append(entries, feedEntry{record: l.Record, timeUS: l.TimeUS})
		}
		entries[i].links = append(entries[i].links, db.Link{Path: l.Path, Target: l.Target})
	}
	return entries
}

// recordText returns the text of a record, or its title and description.
func recordText(value json.RawMessage) string {
	var r map[string]any
	if len(value) == 0 || json.Unmarshal(value, &r) != nil {
		return ""
	}
	first := func(names ...string) string {
		for _, name := range names {
			if text, _ := r[name].(string); strings.TrimSpace(text) != "" {
				return text
			}
		}
		return ""
	}
	if text := first("text"); text != "" {
		return text
	}
	return strings.Trim(first("title", "name", "displayName")+"\n\n"+first("description", "summary", "content"), "\n")
}

// feedWriter writes the texts of a feed.
type feedWriter struct {
	words  Words
	origin string
}

// about names the subject of a feed.
func (f *feedWriter) about(q db.FeedQuery) string {
	switch {
	case q.DID != "":
		return f.words.Name(q.DID) + " and all of its records"
	case q.Target != "":
		return f.words.Target(q.Target)
	}
	return strings.Join(feedValues(q)["host"], ", ")
}

// page returns the address of the page of the same links.
func (f *feedWriter) page(q db.FeedQuery) string {
	switch {
	case q.DID != "":
		return f.address(routes.GetAccountBacklinks, "did", q.DID)
	case q.Target == "":
		return f.address(routes.LinksAll, "target", q.Prefixes[len(q.Prefixes)-1]) // https sorts after http
	case len(q.Sources) == 1:
		return f.address(routes.WeftGetBacklinks, "subject", q.Target, "source", sourceText(q.Sources[0]))
	}
	return f.address(routes.LinksAll, "target", q.Target)
}

// address returns the address of a page with parameters in pairs.
func (f *feedWriter) address(route *routes.Route, pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return f.origin + route.Path + "?" + v.Encode()
}

// entry returns an entry. Its id depends on the record but not on the feed: a reader of two feeds shows a record once.
func (f *feedWriter) entry(e feedEntry) atomEntry {
	r := e.record
	uri := "at://" + r.DID + "/" + r.Collection + "/" + r.Rkey
	page := f.address(routes.LinksAll, "target", uri)
	updated := atomTime(time.UnixMicro(e.timeUS).UTC())
	out := atomEntry{
		ID: tagPrefix + "record/" + url.PathEscape(r.DID) + "/" + url.PathEscape(r.Collection) + "/" +
			url.PathEscape(r.Rkey),
		Title:     oneLine(f.words.Name(r.DID)+" "+f.doing(e), maxTitle),
		Updated:   updated,
		Published: updated,
		Author:    atomAuthor{Name: oneLine(f.words.Name(r.DID), maxTitle), URI: f.address(routes.LinksAll, "target", r.DID)},
		Links:     []atomLink{{Rel: "alternate", Type: "text/html", Href: page}},
		Category:  atomCategory{Term: oneLine(r.Collection, maxTitle)},
		Summary:   summary(e.text),
	}
	if open := f.words.Open(r.DID, r.Collection, r.Rkey); open != "" {
		out.Links[0].Href = open
		out.Links = append(out.Links, atomLink{Rel: "via", Type: "text/html", Href: page})
	}
	if out.Summary == "" {
		out.Summary = oneLine(uri+" links to "+e.links[0].Target, maxSummary)
	}
	for i, l := range e.links {
		if i < maxNamed && (strings.HasPrefix(l.Target, "https://") || strings.HasPrefix(l.Target, "http://")) {
			out.Links = append(out.Links, atomLink{Rel: "related", Href: l.Target})
		}
	}
	return out
}

// doing describes the links of a record: "replies to, mentions alice.example".
func (f *feedWriter) doing(e feedEntry) string {
	var verbs, targets []string
	for _, l := range e.links {
		if verb := f.words.Verb(e.record.Collection, l.Path); !slices.Contains(verbs, verb) {
			verbs = append(verbs, verb)
		}
		if target := f.words.What(l.Target); !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	more := ""
	if n := len(targets); n > maxNamed {
		targets = targets[:maxNamed]
		more = " and " + strconv.Itoa(n-maxNamed) + " more"
	}
	return strings.Join(verbs, ", ") + " " + strings.Join(targets, ", ") + more
}

// costOfFeed returns the cost of a feed by the number of its links, which is an upper bound of the lists that it reads.
func (s *server) costOfFeed(ctx context.Context, q *params) (cost, error) {
	feed := q.subjectOfFeed()
	if q.err != nil {
		return light, nil
	}
	n, err := s.Store.FeedTotal(ctx, feed)
	return costOfWalk(q, n, err)
}
