package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// Constellation's, which clients count on.
	defaultLimit = 100
	maxLimit     = 1000

	// The longest NSID that atproto allows, in bytes.
	maxCollection = 317
	// In bytes. Real paths are below 200; ingest drops absurd ones.
	maxPath = 1024
	// Entries of one filter: as many accounts as a subscription to the stream may name.
	maxFilter = 10_000
)

// params is a form-encoded query string. It keeps the first thing found wrong with it, in err, so that a handler reads all of
// its parameters and then checks once; after that the values read mean nothing.
type params struct {
	raw map[string][]string // values by decoded name, still encoded: nobody is told off for a parameter that is ignored
	err error
}

// parseQuery splits a query string. It is stricter than url.ParseQuery, which drops what it can't decode and so answers another
// question than the one asked; and a semicolon is a character like any other.
func parseQuery(query string) *params {
	p := &params{raw: make(map[string][]string)}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			p.fail(clip(rawName), "is not the name of a parameter: it has a bad percent escape")
			continue
		}
		p.raw[name] = append(p.raw[name], rawValue)
	}
	return p
}

func (p *params) fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = invalid(name, format, args...)
	}
}

// values returns all values of a parameter, decoded.
func (p *params) values(name string) []string {
	var values []string
	for _, raw := range p.raw[name] {
		v, err := url.QueryUnescape(raw)
		switch {
		case err != nil:
			p.fail(name, "has a bad percent escape: write a bare %% as %%25")
		case !utf8.ValidString(v):
			p.fail(name, "is not UTF-8: encode it as UTF-8 before percent-encoding it")
		case strings.ContainsRune(v, 0):
			p.fail(name, "has a NUL character in it: leave that out")
		}
		values = append(values, v)
	}
	return values
}

// optional returns the value of a parameter that may be given once, and whether it was. An empty value is an error: it is most
// likely a variable that wasn't set, and neither a default nor "everything" is what was meant.
func (p *params) optional(name string) (string, bool) {
	values := p.values(name)
	if len(values) == 0 {
		return "", false
	}
	if len(values) > 1 {
		p.fail(name, "is given %d times: give it once", len(values))
	}
	if values[0] == "" {
		p.fail(name, "is empty: give it a value or leave it out")
	}
	return values[0], true
}

// required returns the value of a parameter that must be given once.
func (p *params) required(name string) string {
	switch raw := p.raw[name]; {
	case len(raw) == 0:
		p.fail(name, "is missing: it is required")
	case len(raw) == 1 && raw[0] == "":
		p.fail(name, "is empty: it is required")
	}
	v, _ := p.optional(name)
	return v
}

// checked requires v to be at most max bytes, not empty, and without control characters. It is what of the parameter called name.
func (p *params) checked(name, what, v string, max int) string {
	switch {
	case v == "":
		p.fail(name, "has an empty %s: fill it in", what)
	case len(v) > max:
		p.fail(name, "has too long a %s: at most %d bytes are allowed", what, max)
	case strings.ContainsFunc(v, unicode.IsControl):
		p.fail(name, "has a control character in its %s: leave that out", what)
	}
	return v
}

// limit returns how many items a page shall hold: 1 to maxLimit.
func (p *params) limit() int {
	v, ok := p.optional("limit")
	if !ok {
		return defaultLimit
	}
	// Digits only, for Atoi takes a sign; a number too long for it is too large anyway.
	digits := !strings.ContainsFunc(v, func(c rune) bool { return c < '0' || c > '9' })
	n, err := strconv.Atoi(v)
	if !digits || err != nil || n < 1 || n > maxLimit {
		p.fail("limit", "must be a whole number from 1 to %d", maxLimit)
	}
	return n
}

// flag returns whether a parameter that defaults to false is true.
func (p *params) flag(name string) bool {
	v, ok := p.optional(name)
	if ok && v != "true" && v != "false" {
		p.fail(name, "must be true or false")
	}
	return v == "true"
}

// filter makes a set of what the parameter called name lists: sorted, without duplicates, each entry as norm returns it.
// Blank entries are dropped, and when none is left the filter is nil, no filter at all: a client that sends did= has nothing
// to filter by. An entry that norm refuses is an error, for dropping it might turn the filter off.
func (p *params) filter(name string, entries []string, is string, norm func(string) (string, bool)) []string {
	var set []string
	for _, entry := range entries {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		v, ok := norm(entry)
		if !ok {
			p.fail(name, "must be %s, or left out", is)
		}
		set = append(set, v)
	}
	slices.Sort(set)
	set = slices.Compact(set)
	if len(set) > maxFilter {
		p.fail(name, "has %d different values: at most %d are allowed", len(set), maxFilter)
	}
	return set
}
