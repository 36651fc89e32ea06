package link

import "strings"

// WebHost returns the host of a normalised http or https URI, without user and port: "example.org", or "[::1]". It
// returns "" for every other link. The result is a part of uri.
func WebHost(uri string) string {
	rest, ok := strings.CutPrefix(uri, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(uri, "http://")
	}
	if !ok {
		return ""
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	if strings.HasPrefix(rest, "[") {
		return rest[:strings.IndexByte(rest, ']')+1]
	}
	host, _, _ := strings.Cut(rest, ":")
	return host
}
