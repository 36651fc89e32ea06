package web

import (
	"cmp"
	"hash/fnv"
	"html/template"
	"net/url"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

// templateFuncs are what templates write things with.
var templateFuncs = template.FuncMap{
	"num": humanize.Number, "short": humanize.Short, "did": shortDID, "initials": initials, "dye": avatarColor,
	"thread":  sourceColor,
	"explore": explore, "utc": utc, "position": position, "kind": kindText, "target": targetText,
	"plural": humanize.Plural, "top": func() string { return topAddress("", 24) },
}

// shortDID leaves the middle of a long DID out.
func shortDID(did string) string {
	const most = 24
	if len(did) <= most {
		return did
	}
	return did[:16] + "…" + did[len(did)-5:]
}

// initials stand where a picture would: two characters of a handle, or of what is particular in a DID.
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

// dyes are how many colours there are for accounts.
const dyes = 8

// avatarColor is the colour of an account, the same everywhere.
func avatarColor(did string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(did))
	return int(h.Sum32() % dyes)
}

// sourceColor is the colour of a kind of link: related kinds have one.
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

// explore is the address of a target's page.
func explore(target string) string { return routes.LinksAll.Path + "?" + form("target", target) }

// utc writes a time, in microseconds since 1970, to the second, with its date and zone.
func utc(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05 UTC") }

// kindText says what a target is.
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

// accountOfTarget is the account that a target is, or is of; empty: none.
func accountOfTarget(target string) string {
	if did, _, _, ok := link.SplitRecord(target); ok {
		return did
	}
	if link.ValidDID(target) {
		return target
	}
	return ""
}

// targetText shortens a target for a line: of a record its account, kind and key, of a web page what follows the
// scheme.
func targetText(target string) string { return targetTextBy(shortDID, target) }

// targetTextBy is targetText with names for accounts.
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

// whatBy says in words what a target is, with names for accounts: "a post by alice.example". A record without a noun of
// its own, and any other target, is shortened to a line.
func whatBy(name func(did string) string, target string) string {
	did, collection, rkey, ok := link.SplitRecord(target)
	noun := recordNouns[collection]
	if !ok || rkey == "" || noun == "" {
		return targetTextBy(name, target)
	}
	return article(noun) + noun + " by " + name(did)
}
