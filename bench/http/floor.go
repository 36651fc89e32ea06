package main

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
)

// floorPath is a route of the served child that answers with the bytes of another route, which it asks once. What it
// costs is net/http and the kernel alone.
const floorPath = "/bench/floor"

// floorOf returns the request for the answer of a path without its work. Its query is as long.
func floorOf(path string) string { return floorPath + "?" + path }

// floor answers as the API does: with the same headers and the same body, by one write.
func floor(answers http.Handler) http.Handler {
	var mu sync.Mutex
	kept := map[string]*httptest.ResponseRecorder{}
	answerOf := func(path string) *httptest.ResponseRecorder {
		mu.Lock()
		defer mu.Unlock()
		if kept[path] == nil {
			kept[path] = httptest.NewRecorder()
			answers.ServeHTTP(kept[path], httptest.NewRequest(http.MethodGet, path, nil))
		}
		return kept[path]
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answerOf(r.URL.RawQuery)
		maps.Copy(w.Header(), answer.Header())
		w.Header()["Content-Length"] = []string{strconv.Itoa(answer.Body.Len())}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}
