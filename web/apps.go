package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"weft.dev/weft/link"
)

// place is an address pattern at which an app shows accounts or the records of a collection. The table of places works
// in both directions: pages link to the app, and search parses the address.
type place struct {
	app        string // the name of the app; empty: an address that only search reads
	host       string
	collection string // collection of the records; empty: accounts
	// path has segments in braces: {actor} is a DID or a handle, with or without an @; {rkey} a record key; {name} a
	// member of the record; {} any text. A * at the end matches further segments.
	path string
}

// places are the address patterns. If an address fits several collections, search takes the first with links.
var places = []place{
	{"Bluesky", "bsky.app", "", "/profile/{actor}"},
	{"Bluesky", "bsky.app", "app.bsky.actor.profile", "/profile/{actor}"},
	{"Bluesky", "bsky.app", "app.bsky.feed.post", "/profile/{actor}/post/{rkey}/*"},
	{"Bluesky", "bsky.app", "app.bsky.feed.generator", "/profile/{actor}/feed/{rkey}/*"},
	{"Bluesky", "bsky.app", "app.bsky.graph.list", "/profile/{actor}/lists/{rkey}/*"},
	{"Bluesky", "bsky.app", "app.bsky.graph.starterpack", "/starter-pack/{actor}/{rkey}"},
	{"", "bsky.app", "app.bsky.graph.starterpack", "/start/{actor}/{rkey}"},
	{"WhiteWind", "whtwnd.com", "com.whtwnd.blog.entry", "/{actor}/{rkey}/*"},
	{"", "whtwnd.com", "", "/{actor}"},
	{"Frontpage", "frontpage.fyi", "fyi.unravel.frontpage.post", "/post/{actor}/{rkey}"},
	{"Smoke Signal", "smokesignal.events", "community.lexicon.calendar.event", "/{actor}/{rkey}"},
	{"Smoke Signal", "smokesignal.events", "events.smokesignal.calendar.event", "/{actor}/{rkey}"},
	{"", "smokesignal.events", "", "/{actor}"},
	{"Leaflet", "leaflet.pub", "pub.leaflet.document", "/p/{actor}/{rkey}"},
	{"", "leaflet.pub", "site.standard.document", "/p/{actor}/{rkey}"},
	{"", "leaflet.pub", "", "/p/{actor}"},
	{"Leaflet", "leaflet.pub", "pub.leaflet.publication", "/lish/{actor}/{rkey}"},
	{"", "leaflet.pub", "site.standard.publication", "/lish/{actor}/{rkey}"},
	{"", "leaflet.pub", "pub.leaflet.document", "/lish/{actor}/{}/{rkey}"},
	{"", "leaflet.pub", "site.standard.document", "/lish/{actor}/{}/{rkey}"},
	{"Tangled", "tangled.org", "sh.tangled.actor.profile", "/{actor}"},
	{"Tangled", "tangled.org", "sh.tangled.repo", "/{actor}/{name}/*"},
	{"", "tangled.org", "", "/{actor}"},
	{"PinkSea", "pinksea.art", "com.shinolabs.pinksea.oekaki", "/{actor}/oekaki/{rkey}"},
	{"", "pinksea.art", "", "/{actor}"},
}

// hostNames are further hosts of an app.
var hostNames = map[string]string{"tangled.sh": "tangled.org", "main.bsky.dev": "bsky.app"}

// shared is the host whose address patterns many apps use, so that search parses them on any host.
const shared = "bsky.app"

// recordNouns are names of records, by collection.
var recordNouns = map[string]string{
	"app.bsky.actor.profile":            "profile",
	"app.bsky.feed.generator":           "feed",
	"app.bsky.feed.post":                "post",
	"app.bsky.feed.repost":              "repost",
	"app.bsky.graph.list":               "list",
	"app.bsky.graph.starterpack":        "starter pack",
	"com.shinolabs.pinksea.oekaki":      "drawing",
	"com.whtwnd.blog.entry":             "blog entry",
	"community.lexicon.calendar.event":  "event",
	"events.smokesignal.calendar.event": "event",
	"fyi.unravel.frontpage.comment":     "comment",
	"fyi.unravel.frontpage.post":        "submission",
	"pub.leaflet.document":              "document",
	"pub.leaflet.publication":           "publication",
	"sh.tangled.repo":                   "code repository",
	"site.standard.document":            "document",
	"site.standard.publication":         "publication",
}

// open returns the address of an account or of a record at the place; empty if the address needs a member that the
// record lacks. value is the record; nil: unknown.
func (p place) open(did, rkey string, value map[string]any) string {
	var b strings.Builder
	b.WriteString("https://" + p.host)
	for _, segment := range strings.Split(p.path, "/")[1:] {
		switch segment {
		case "*":
			continue
		case "{actor}":
			segment = did
		case "{rkey}":
			segment = rkey
		case "{name}":
			segment, _ = value["name"].(string)
		}
		if segment == "" || segment == "." || segment == ".." {
			return ""
		}
		b.WriteString("/" + url.PathEscape(segment))
	}
	return b.String()
}

// located names the account or record at an address: an account alone, a record by its key, or a record by its name.
type located struct{ actor, rkey, name string }

// read parses a path. ok is false if the path doesn't match.
func (p place) read(path []string) (at located, ok bool) {
	want := strings.Split(p.path, "/")[1:]
	if n := len(want) - 1; want[n] == "*" {
		want = want[:n]
		path = path[:min(len(path), n)]
	}
	if len(path) != len(want) {
		return located{}, false
	}
	for i, segment := range want {
		switch segment {
		case "{actor}":
			at.actor = strings.TrimPrefix(path[i], "@")
			if !link.ValidDID(at.actor) {
				at.actor = asciiHandle(at.actor)
			}
			ok = at.actor != ""
		case "{rkey}":
			at.rkey = path[i]
			ok = link.ValidRecordKey(at.rkey)
		case "{name}":
			at.name = path[i]
			ok = at.name != ""
		case "{}":
			ok = path[i] != ""
		default:
			ok = segment == path[i]
		}
		if !ok {
			return located{}, false
		}
	}
	return at, true
}

// placesAt parses the address of an app. It returns the account or record and its possible collections: none for an
// account. The actor is empty for other addresses.
func placesAt(host string, path []string) (at located, collections []string) {
	host = strings.TrimPrefix(host, "www.")
	if name := hostNames[host]; name != "" {
		host = name
	}
	for _, own := range []bool{true, false} {
		for _, p := range places {
			if own && p.host != host || !own && p.host != shared {
				continue
			}
			found, ok := p.read(path)
			if !ok || at.actor != "" && found != at {
				continue
			}
			if p.collection == "" {
				return found, nil
			}
			at = found
			if !slices.Contains(collections, p.collection) {
				collections = append(collections, p.collection)
			}
		}
		if at.actor != "" {
			break
		}
	}
	return at, collections
}

// DefaultViewer is the viewer of records unless the operator sets one.
const DefaultViewer = "https://pdsls.dev/{uri}"

// NoViewer turns the viewer off.
const NoViewer = "none"

// CheckViewer returns an error for an invalid viewer. A viewer is an http or https URL with {uri} in it, or NoViewer.
func CheckViewer(viewer string) error {
	if viewer == NoViewer {
		return nil
	}
	u, err := url.Parse(strings.Replace(viewer, "{uri}", "x", 1))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return fmt.Errorf("%q is not an http or https URL", viewer)
	}
	host, _, _ := strings.Cut(strings.SplitN(viewer, "//", 2)[1], "/")
	if strings.Count(viewer, "{uri}") != 1 || strings.Contains(host, "{uri}") {
		return fmt.Errorf("%q must have {uri} once, after the host, in place of the record's at-uri", viewer)
	}
	return nil
}

// viewerName returns the name of a known viewer, else its host.
func viewerName(viewer string) string {
	u, err := url.Parse(strings.Replace(viewer, "{uri}", "x", 1))
	switch {
	case err != nil:
		return "viewer"
	case u.Hostname() == "pdsls.dev":
		return "PDSls"
	}
	return u.Hostname()
}

// appsOf returns the apps that show an account or a record. collection and rkey are empty for an account. value is the
// record as JSON, if it is known.
func appsOf(did, collection, rkey string, value json.RawMessage) []way {
	var ways []way
	var record map[string]any
	for _, p := range places {
		if p.app == "" || p.collection != collection {
			continue
		}
		if strings.Contains(p.path, "{name}") && record == nil && len(value) > 0 {
			_ = json.Unmarshal(value, &record) // a value that isn't an object has no members
		}
		if href := p.open(did, rkey, record); href != "" {
			ways = append(ways, way{p.app, href})
		}
	}
	return ways
}

// openIn returns links to an account or a record in the apps that show it, and in the viewer.
func (s *Server) openIn(did, collection, rkey string, value json.RawMessage) []way {
	ways := appsOf(did, collection, rkey, value)
	if s.Viewer == NoViewer {
		return ways
	}
	uri := "at://" + url.PathEscape(did)
	if collection != "" {
		uri += "/" + url.PathEscape(collection)
	}
	if rkey != "" {
		uri += "/" + url.PathEscape(rkey)
	}
	return append(ways, way{viewerName(s.Viewer), strings.Replace(s.Viewer, "{uri}", uri, 1)})
}
