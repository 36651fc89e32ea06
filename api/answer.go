package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"weft.dev/weft/api/lexicons"
)

const (
	// What is indexed changes with every commit, several times a second. A second of caching is too short to notice and
	// turns the crowd around one popular post into one query a second.
	cacheBriefly = "public, max-age=1"
	// The answers about the service itself change with its configuration only.
	cacheLong  = "public, max-age=3600"
	cacheNever = "no-store"

	typeJSON = "application/json"
)

// query makes a handler of one that reads the parameters that def defines from p and returns what to encode as JSON. It runs when it has its
// turn, and within the configured time.
func (s *server) query(def *lexicons.Def, answer func(ctx context.Context, p *params) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
		defer cancel()
		p, cache := parseQuery(def, r.URL.RawQuery), cacheBriefly
		if r.Method == http.MethodPost {
			var err error
			if p.body, err = readBody(w, r); err != nil {
				writeFailure(w, r, s.failureOf(ctx, r, err))
				return
			}
			cache = cacheNever
		}
		s.resolveSubject(ctx, p)
		v, err := s.inTurn(ctx, r, p.isHeavy(), func() (any, error) { return answer(ctx, p) })
		if err != nil {
			writeFailure(w, r, s.failureOf(ctx, r, err))
			return
		}
		writeJSON(w, r, http.StatusOK, cache, v)
	}
}

// readBody reads the JSON that a request carries.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != typeJSON {
		return nil, invalid("body", "must have the Content-Type %s", typeJSON)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &failure{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "`body` is too large: at most 1 MiB is allowed"}
	case err != nil:
		return nil, invalid("body", "broke off")
	}
	return body, nil
}

// inTurn runs f when its turn comes, and returns the error of ctx when it doesn't in time. The turn is given back before the
// answer is written, so that slow clients hold up only themselves.
func (s *server) inTurn(ctx context.Context, r *http.Request, heavy bool, f func() (any, error)) (any, error) {
	queue := s.light
	if heavy {
		queue = s.heavy
	}
	if err := queue.take(ctx, s.address(r)); err != nil {
		return nil, err
	}
	defer queue.done()
	return f()
}

// isHeavy says whether a query may walk through a whole list, or many: it waits apart from those that look something up.
func (p *params) isHeavy() bool {
	switch p.def.Path {
	case "/", "/links", "/links/count", "/links/count/distinct-dids",
		"/xrpc/blue.microcosm.links.getBacklinksCount", "/xrpc/blue.microcosm.links.getBacklinks", "/xrpc/dev.weft.links.getBacklinks",
		"/xrpc/dev.weft.links.getTimeline", "/xrpc/dev.weft.links.getRecordLinks":
		return len(p.raw["did"])+len(p.raw["from_dids"]) > 0
	}
	return true
}

// writeJSON answers with v. It panics when v can't be encoded, which no value of this package's types does.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, cache string, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // links are full of &, and \u0026 helps nobody who reads them
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	write(w, r, status, typeJSON, cache, bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

func writeFailure(w http.ResponseWriter, r *http.Request, f *failure) {
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1") // seconds: the least that the header can say
	}
	writeJSON(w, r, f.status, cacheNever, f)
}

// write answers with a whole body, to HEAD with all but the body, and with 304 when the client has it already.
func write(w http.ResponseWriter, r *http.Request, status int, contentType, cache string, body []byte) {
	h := w.Header()
	h.Set("Cache-Control", cache)
	if status == http.StatusOK && cache != cacheNever {
		tag := etag(body)
		h.Set("ETag", tag)
		if matches(r.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Type", contentType)
	body, encoding := encode(r.Header.Values("Accept-Encoding"), body)
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
		if tag := h.Get("ETag"); tag != "" {
			h.Set("ETag", "W/"+tag) // other bytes, the same answer
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // it fails only when the client has left
	}
}

// etag names a body: 96 bits of its SHA-256, far more than two of a client's answers need to differ.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// matches compares weakly, as If-None-Match does: a proxy that compresses turns our tags into weak ones.
func matches(fields []string, tag string) bool {
	for _, field := range fields {
		for have := range strings.SplitSeq(field, ",") {
			have = strings.TrimSpace(have)
			if have == "*" || strings.TrimPrefix(have, "W/") == tag {
				return true
			}
		}
	}
	return false
}
