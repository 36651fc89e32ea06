package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// formatParameter lets a browser have what a program gets: format=json.
const formatParameter = "format"

// wantsPage says whether a request is a browser's: it reads, and prefers HTML to JSON. What accepts anything gets JSON,
// and so does what likes both as much.
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

// quality is the q of an accepted type, 1 where there is none and 0 where it is none.
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

// pageParameters are those that only pages read.
var pageParameters = map[string]bool{formatParameter: true, trailParameter: true, fromParameter: true}

// withoutPageParameters is a query string as the API gets it. The API ignores what it doesn't know; but the address
// that a page shows for it should have nothing to spare.
func withoutPageParameters(query string) string {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		// A form sends the fields that were left empty, too, and the API takes an empty parameter for a mistake.
		if pair == "" || err == nil && (pageParameters[name] || value == "" && optional[name]) {
			continue
		}
		if name == "since" || name == "until" {
			// A form sends a day, and the API takes a time: that at which the day begins.
			if _, err := time.Parse(time.DateOnly, value); err == nil {
				pair += "T00:00:00Z"
			}
		}
		kept = append(kept, readable.Replace(pair))
	}
	return strings.Join(kept, "&")
}

// optional are the parameters that forms of pages may leave empty.
var optional = map[string]bool{
	"did": true, "since": true, "until": true, "cursor": true, "limit": true, "reverse": true, "source": true,
	"from_dids": true, "linkDid": true, "otherSubject": true, "hydrate": true, "hours": true,
}
