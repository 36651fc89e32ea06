package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// formatParameter requests JSON in a browser: format=json.
const formatParameter = "format"

// wantsPage reports whether a request gets a page: it is a GET or HEAD and prefers HTML to JSON. A client that accepts
// anything, or both equally, gets JSON.
func wantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || strings.Contains(r.URL.RawQuery,
		formatParameter+"=json") && r.URL.Query().Get(formatParameter) == "json" {
		return false
	}
	html := 0.0
	json := 0.0
	any := 0.0
	for _, field := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(field, ",") {
			kind, parameters, _ := strings.Cut(part, ";")
			q := quality(parameters)
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "text/html", "application/xhtml+xml":
				html = max(html, q)
			case "application/json":
				json = max(json, q)
			case "*/*", "application/*":
				any = max(any, q)
			}
		}
	}
	return html > json && html >= any
}

// quality returns the q of an accepted type: 1 without a q, 0 for an invalid one.
func quality(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); ok {
			q, err := strconv.ParseFloat(v, 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// pageParameters are read by pages only.
var pageParameters = map[string]bool{formatParameter: true, trailParameter: true, fromParameter: true}

// withoutPageParameters returns a query string for the API. The API ignores unknown parameters, but the page shows the
// API's address, which should have no unnecessary ones.
func withoutPageParameters(query string) string {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		// A form also sends empty fields, and the API refuses an empty parameter.
		if pair == "" || err == nil && (pageParameters[name] || value == "" && optional[name]) {
			continue
		}
		if name == "since" || name == "until" {
			// A form sends a date, and the API requires a time: the beginning of the day.
			if _, err := time.Parse(time.DateOnly, value); err == nil {
				pair += "T00:00:00Z"
			}
		}
		kept = append(kept, readable.Replace(pair))
	}
	return strings.Join(kept, "&")
}

// optional are the parameters that may be empty in forms.
var optional = map[string]bool{
	"did": true, "since": true, "until": true, "cursor": true, "limit": true, "reverse": true, "source": true,
	"from_dids": true, "linkDid": true, "otherSubject": true, "hydrate": true, "hours": true,
}
