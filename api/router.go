package api

import (
	"net/http"
	"slices"
	"strings"

	"weft.dev/weft/api/routes"
)

// router finds the handler of a request. All paths but one are fixed, so that a map finds them: that takes a tenth of
// the time of a router for patterns, which also copies the request to add its parameters.
type router map[*routes.Route]endpoint

// endpoint is the handler of a route, for some methods.
type endpoint struct {
	methods []string
	serve   http.HandlerFunc
}

// routeOf returns the route of a request's path, also for a method that the route does not answer; nil: there is none.
// A path with needless escapes is another path.
func routeOf(r *http.Request) *routes.Route {
	if r.URL.RawPath != "" {
		return nil
	}
	if route := routes.At(r.URL.Path); route != nil {
		return route
	}
	if lexiconOf(r) != "" {
		return routes.Lexicon
	}
	return nil
}

// lexiconPrefix is the path of routes.Lexicon before its parameter.
var lexiconPrefix = strings.TrimSuffix(routes.Lexicon.Path, "{nsid}")

// lexiconOf returns the parameter of routes.Lexicon; empty for another path.
func lexiconOf(r *http.Request) string {
	nsid, ok := strings.CutPrefix(r.URL.Path, lexiconPrefix)
	if !ok || strings.Contains(nsid, "/") {
		return ""
	}
	return nsid
}

// answering returns the route that answers a request; nil: none does.
func (h router) answering(r *http.Request) *routes.Route {
	route := routeOf(r)
	if route == nil || !slices.Contains(h[route].methods, r.Method) {
		return nil
	}
	return route
}

// ServeHTTP implements http.Handler.
func (h router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route := h.answering(r)
	switch {
	case route != nil:
		h[route].serve(w, r)
	case routeOf(r) != nil || !slices.Contains(knownMethods, r.Method):
		methodNotAllowed(w, r)
	default:
		notFound(w, r)
	}
}

// knownMethods are the methods of RFC 9110 and PATCH. Another one is not allowed at any path.
var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace,
}
