package api

import (
	"slices"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// This file reads the parameters that name subjects, sources, paths and filters.

// subject returns a required link, normalised as the index has it, with the DID in place of a handle.
func (p *params) subject(name string) string {
	v, _ := p.text(name)
	s, ok := normal(v)
	if v != "" && !ok {
		p.fail(name, "is not a link: it must be an at-uri, a DID or an absolute URI of at most 8 KiB, percent-encoded")
	}
	return p.byDID(name, s)
}

// source returns the parameter source: collection, colon, path. Only the first colon counts, because paths may have
// colons. A collection that is no NSID is accepted, and has no links. An empty path is a key without a name.
func (p *params) source() db.Source {
	v, _ := p.text("source")
	return p.sourceOf("source", v)
}

// sourceOf splits a source.
func (p *params) sourceOf(name, v string) db.Source {
	collection, path, found := strings.Cut(v, ":")
	if v != "" && !found {
		p.fail(name, "has no colon: it must be a collection, a colon and a path, such as app.bsky.feed.like:subject.uri")
	}
	return db.Source{
		Collection: p.checked(name, "collection", collection, maxCollection),
		Path:       p.path(name, path),
	}
}

// legacySource returns a source from the two parameters of the older routes, whose paths have a leading dot.
func (p *params) legacySource() db.Source {
	collection, _ := p.text("collection")
	path, _ := p.text("path")
	return db.Source{
		Collection: p.checked("collection", "value", collection, maxCollection),
		Path:       p.path("path", path),
	}
}

// other returns the path to the other link of a many-to-many query.
func (p *params) other() string {
	v, _ := p.text("pathToOther")
	return p.path("pathToOther", v)
}

// path returns a path without its leading dot. It removes one dot at most, so that a path with its leading dot, as
// /links/all lists it, names itself. A path can have any key: an empty one, one that begins with a dot, one with a
// newline.
func (p *params) path(name, v string) string {
	v = strings.TrimPrefix(v, ".")
	if len(v) > maxPath {
		p.fail(name, "is too long: the limit is %d bytes", maxPath)
	}
	return v
}

// dids returns a repeatable filter by accounts. It may have several names, whose values are one list.
func (p *params) dids(names ...string) []string {
	var all []string
	most := 0
	for _, name := range names {
		most = p.schema(name).MaxLength
		all = append(all, p.filter(name, p.values(name), most, "a DID", validDID)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > most {
		p.fail(names[0], "has %d different values: the limit is %d", len(all), most)
	}
	return all
}

// didsOrFrom returns the filter of /links: did, repeatable, or from_dids, an older list with commas. As in
// Constellation, both together are an error.
func (p *params) didsOrFrom() []string {
	dids := p.dids("did")
	from := p.fromDIDs()
	if len(dids) > 0 && p.times("from_dids") > 0 {
		p.fail("from_dids", "can't be combined with `did`: repeat `did` for each DID instead")
	}
	return append(dids, from...)
}

func (p *params) fromDIDs() []string {
	values := p.values("from_dids")
	if len(values) > 1 {
		p.fail("from_dids", "appears %d times: send it once, with commas between the DIDs", len(values))
	}
	return p.filter("from_dids", strings.Split(strings.Join(values, ","), ","), maxFilter,
		"a comma-separated list of DIDs", validDID)
}

// otherSubjects returns the filter by the other link of a many-to-many query.
func (p *params) otherSubjects() []string {
	return p.filter("otherSubject", p.values("otherSubject"), p.schema("otherSubject").MaxLength,
		"an at-uri, a DID or an absolute URI of at most 8 KiB", normal)
}

func normal(s string) (string, bool) {
	out, kind := link.Parse(s)
	return out, kind != link.None
}

func validDID(s string) (string, bool) { return s, link.ValidDID(s) }

func validNSID(s string) (string, bool) { return s, link.ValidNSID(s) }

func validPrefix(s string) (string, bool) { return s, len(s) <= link.MaxLen }

// normalSource returns a source as weft writes it.
func normalSource(s string) (string, bool) {
	p := &params{}
	source := p.sourceOf("source", s)
	return sourceText(source), p.err == nil
}
