package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// MaxSkew bounds the difference between the clocks of two upstreams, and the delay of an event at one of them against
// the other.
const MaxSkew = 5 * time.Minute

// Endpoint is the address of a Jetstream server.
type Endpoint struct {
	URL  string        // scheme, host and port: the key of its cursor, and its name in logs and on pages
	User *url.Userinfo // sent in a header with each request, and never shown; nil: none
	HTTP *http.Client  // sends the requests; nil: http.DefaultClient
}

// Address is a Jetstream server as an operator writes it.
type Address struct {
	Endpoint
	Filter Filter // the collections and accounts in the address's query
}

// Paths of the streams, which end a server's address in its documentation. Probe decides which one is used.
const (
	pathV1 = "/subscribe"
	pathV2 = "/xrpc/network.bsky.jetstream.subscribeEvents"
)

// ParseAddress parses a server's host name or URL. The default scheme is https, and http on loopback; ws and wss are
// http and https. A URL may have a user name and a password, and the path and filters of Jetstream's streams. Its
// errors never quote a password.
func ParseAddress(text string) (Address, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Address{}, errors.New("an empty address")
	}
	bare := !strings.Contains(text, "://")
	if bare {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		var quotes *url.Error
		if errors.As(err, &quotes) {
			err = quotes.Err
		}
		if strings.Contains(text, "@") { // the error may quote a part of the password
			err = errors.New("percent-encode (%XX) characters of the user name and password other than letters, digits and -._~")
		}
		return Address{}, fmt.Errorf("not a host name or a URL such as wss://jetstream.example: %w", err)
	}
	name, err := baseName(u, bare)
	if err != nil {
		return Address{}, err
	}
	switch path := strings.TrimRight(u.Path, "/"); {
	case path != "" && path != pathV1 && path != pathV2:
		return Address{}, fmt.Errorf("%s has the path %s; weft finds the stream paths by itself: use %s",
			name, u.EscapedPath(), name)
	case u.Fragment != "":
		return Address{}, fmt.Errorf("%s has a fragment: use %s", name, name)
	}
	filter, err := parseFilter(u.RawQuery)
	if err != nil {
		return Address{}, fmt.Errorf("%s: %w", name, err)
	}
	return Address{Endpoint: Endpoint{URL: name, User: u.User}, Filter: filter}, nil
}

// baseName returns the normalised URL of a server.
func baseName(u *url.URL, bare bool) (string, error) {
	host := strings.ToLower(u.Host)
	scheme := strings.ToLower(u.Scheme)
	if u.Hostname() == "" {
		return "", errors.New("an address without a host name")
	}
	switch scheme {
	case "ws":
		scheme = "http"
	case "wss":
		scheme = "https"
	case "http", "https":
	default:
		return "", fmt.Errorf("%s has the scheme %s; use wss, ws, https or http", host, scheme)
	}
	local := strings.ToLower(u.Hostname())
	if bare && (local == "localhost" || local == "::1" || strings.HasPrefix(local, "127.")) {
		scheme = "http"
	}
	return scheme + "://" + host, nil
}

// parseFilter parses the query of Jetstream's streams.
func parseFilter(query string) (f Filter, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return f, errors.New("its query is malformed")
	}
	for name, list := range values {
		switch name {
		case "wantedCollections", "collections":
			f.Collections = append(f.Collections, list...)
		case "wantedDids", "dids":
			f.DIDs = append(f.DIDs, list...)
		case "compress", "zstdDictionary": // weft chooses
		case "cursor":
			return f, errors.New("its query has a cursor: use --from for a new index; an existing index resumes")
		default:
			return f, fmt.Errorf("its query has %q, but only wantedCollections and wantedDids are allowed; "+
				"--collections, --dids and so on select what weft indexes", name)
		}
	}
	f.Collections = slices.Compact(slices.Sorted(slices.Values(f.Collections)))
	f.DIDs = slices.Compact(slices.Sorted(slices.Values(f.DIDs)))
	return f, nil
}

// client returns the client of requests to the server.
func (e Endpoint) client() *http.Client {
	if e.HTTP == nil {
		return http.DefaultClient
	}
	return e.HTTP
}

// authorize adds the user name and the password to the header of a request. Errors quote URLs, so a URL never contains
// them.
func (e Endpoint) authorize(h http.Header) {
	if e.User == nil {
		return
	}
	password, _ := e.User.Password()
	r := http.Request{Header: h}
	r.SetBasicAuth(e.User.Username(), password)
}
