package web

import (
	"cmp"
	"hash/fnv"
	"html/template"
	"net/url"
	"reflect"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

// templateFuncs format values in templates.
var templateFuncs = template.FuncMap{
	"num": number, "short": humanize.Short, "did": shortDID, "initials": initials, "avatarColor": avatarColor,
	"thread":  sourceColor,
	"explore": explore, "utc": utc, "moment": moment, "position": position, "kind": kindText, "target": targetText,
	"plural": humanize.Plural, "top": func() string { return topAddress("", 24) },
}

// shortDID returns a long DID without its middle.
func shortDID(did string) string {
	const most = 24
	if len(did) <= most {
		return did
	}
	return did[:16] + "…" + did[len(did)-5:]
}

// initials returns two characters of a handle, or of the distinct part of a DID, in place of a picture.
func initials(name string) string {
	if strings.HasPrefix(name, "did:") {
		name = name[strings.LastIndexByte(name, ':')+1:]
	}
	name, _, _ = strings.Cut(name, ".")
	if len(name) > 2 {
		name = name[:2]
	}
	return strings.ToUpper(name)
}

// avatarColors is the number of colours for accounts.
const avatarColors = 8

// avatarColor returns the colour of an account, the same on all pages.
func avatarColor(did string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(did))
	return int(h.Sum32() % avatarColors)
}

// sourceColor returns the colour of a kind of link: related kinds share one.
func sourceColor(collection, path string) string {
	switch {
	case strings.HasSuffix(collection, ".like"):
		return "madder"
	case strings.HasSuffix(collection, ".follow"), strings.HasSuffix(collection, ".verification"):
		return "indigo"
	case strings.HasSuffix(collection, ".repost"):
		return "moss"
	case strings.HasSuffix(collection, ".post") && strings.HasPrefix(path, "reply"):
		return "woad"
	case strings.HasSuffix(collection, ".post"):
		return "weld"
	case strings.Contains(collection, ".list"), strings.Contains(collection, "starterpack"):
		return "logwood"
	}
	return "flax"
}

// explore returns the address of a target's page.
func explore(target string) string { return routes.LinksAll.Path + "?" + form("target", target) }

// utc formats a time in microseconds since 1970, to the second, with its date and zone.
func utc(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05 UTC") }

// number formats an int, an int64 or what a pointer to one points to, with commas.
func number(n any) string { return humanize.Number(reflect.Indirect(reflect.ValueOf(n)).Int()) }

// moment formats a time of an answer, in RFC 3339, as utc does. It returns a text of another form unchanged.
func moment(text string) string {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return utc(at.UnixMicro())
}

// kindText describes the kind of a target.
func kindText(target string) string {
	switch _, kind := link.Parse(target); kind {
	case link.DID:
		return "account"
	case link.AtURI:
		if _, collection, rkey, ok := link.SplitRecord(target); ok && rkey != "" {
			return cmp.Or(recordNouns[collection], "record")
		}
		switch strings.Count(target, "/") {
		case 2:
			return "repository"
		case 3:
			return "collection"
		}
		return "record"
	}
	if u, err := url.Parse(target); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return "web page"
	}
	return "address"
}

// accountOfTarget returns the account that a target is or belongs to; empty: none.
func accountOfTarget(target string) string {
	if did, _, _, ok := link.SplitRecord(target); ok {
		return did
	}
	if link.ValidDID(target) {
		return target
	}
	return ""
}

// targetText shortens a target to a line: a record to its account, kind and key, a web page to its address without the
// scheme.
func targetText(target string) string { return targetTextBy(shortDID, target) }

// targetTextBy is targetText with a function for the names of accounts.
func targetTextBy(name func(did string) string, target string) string {
	if did, collection, rkey, ok := link.SplitRecord(target); ok {
		return strings.TrimRight(name(did)+"/"+collection+"/"+rkey, "/")
	}
	if strings.HasPrefix(target, "did:") {
		return name(target)
	}
	target = strings.TrimPrefix(strings.TrimPrefix(target, "https://"), "at://")
	const most = 72
	if len(target) > most {
		return target[:most-1] + "…"
	}
	return target
}

// whatBy describes a target in words, with names for accounts: "a post by alice.example". A record without a noun, and
// any other target, is shortened to a line.
func whatBy(name func(did string) string, target string) string {
	did, collection, rkey, ok := link.SplitRecord(target)
	noun := recordNouns[collection]
	if !ok || rkey == "" || noun == "" {
		return targetTextBy(name, target)
	}
	return article(noun) + noun + " by " + name(did)
}
