package ingest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Upstream is a Jetstream server, as ParseUpstream reads it.
type Upstream struct {
	URL   string        // scheme, host and port: the name under which its cursor is kept and it is shown
	User  *url.Userinfo // sent with each request, and shown nowhere; nil: none
	Slice SliceConfig   // the collections and accounts that its query asks for
}

// Paths that end a server's address in its own documents. What is asked for follows from what the server speaks.
const (
	pathV1 = "/subscribe"
	pathV2 = "/xrpc/network.bsky.jetstream.subscribeEvents"
)

// ParseUpstream reads a server's host name or URL. The scheme is https, on loopback http, unless it is given; ws and wss
// are http and https. A URL may have a user name and a password, and may end in the path and in the filters of Jetstream's
// own streams. No error quotes a password.
func ParseUpstream(text string) (Upstream, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Upstream{}, errors.New("an empty address")
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
		if strings.Contains(text, "@") { // the reason may quote a part of the password
			err = errors.New("percent-encode (%XX) characters of the user name and password other than letters, digits and -._~")
		}
		return Upstream{}, fmt.Errorf("not a host name or a URL such as wss://jetstream.example: %w", err)
	}
	name, err := baseName(u, bare)
	if err != nil {
		return Upstream{}, err
	}
	switch path := strings.TrimRight(u.Path, "/"); {
	case path != "" && path != pathV1 && path != pathV2:
		return Upstream{}, fmt.Errorf("%s has the path %s; weft finds the stream paths by itself: use %s", name, u.EscapedPath(), name)
	case u.Fragment != "":
		return Upstream{}, fmt.Errorf("%s has a fragment: use %s", name, name)
	}
	slice, err := parseFilters(u.RawQuery)
	if err != nil {
		return Upstream{}, fmt.Errorf("%s: %w", name, err)
	}
	return Upstream{URL: name, User: u.User, Slice: slice}, nil
}

// baseName is the one spelling of a server's address.
func baseName(u *url.URL, bare bool) (string, error) {
	host, scheme := strings.ToLower(u.Host), strings.ToLower(u.Scheme)
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

// parseFilters reads the query of Jetstream's own streams.
func parseFilters(query string) (c SliceConfig, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return c, errors.New("its query is malformed")
	}
	for name, list := range values {
		switch name {
		case "wantedCollections", "collections":
			c.Collections = append(c.Collections, list...)
		case "wantedDids", "dids":
			c.DIDs = append(c.DIDs, list...)
		case "compress", "zstdDictionary": // weft chooses
		case "cursor":
			return c, errors.New("its query has a cursor: use --from for a new index; an existing index resumes")
		default:
			return c, fmt.Errorf("its query has %q, but only wantedCollections and wantedDids are allowed; "+
				"--collections, --dids and so on select what weft indexes", name)
		}
	}
	return c.normal(), nil
}

// endpoint is where requests to a server go.
type endpoint struct {
	url  string
	user *url.Userinfo // nil: none
}

func (u *Upstream) endpoint() endpoint { return endpoint{u.URL, u.User} }

// authorize adds the user name and the password to a request's header. They never go into its URL, which errors quote.
func (e *endpoint) authorize(h http.Header) {
	if e.user == nil {
		return
	}
	password, _ := e.user.Password()
	r := http.Request{Header: h}
	r.SetBasicAuth(e.user.Username(), password)
}
