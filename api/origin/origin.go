// Package origin finds the address under which a client knows this server, for answers that hold whole addresses.
package origin

import (
	"net/http"
	"strings"
)

// Of returns the scheme, host and port of a request: https://weft.example. An invalid Host header becomes localhost.
func Of(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	host := r.Host
	if host == "" || strings.ContainsFunc(host, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-:[]", c)
	}) {
		host = "localhost"
	}
	return scheme + "://" + host
}
