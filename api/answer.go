package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

const (
	// cacheBriefly is for answers that change with every commit, several times a second. A second of caching is too
	// short to notice, and reduces the crowd around a popular post to one query a second.
	cacheBriefly = "public, max-age=1"
	// cacheLong is for answers that change only with the configuration.
	cacheLong  = "public, max-age=3600"
	cacheNever = "no-store"

	typeJSON = "application/json"
)

// query returns the handler of a route that is answered from the store. Within the configured time, it reserves in
// order: the bytes of a body, a slot in the semaphore of the query's cost, the bytes of the answer.
func (s *server) query(route *routes.Route, answer queryFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := withTimeout(r.Context(), s.Timeout)
		defer ctx.end()
		who := s.clients.Of(r)
		p := parseQuery(route, r.URL.RawQuery)
		p.request = r
		cache := cacheBriefly
		if r.Method == http.MethodPost {
			room, err := s.readBody(ctx, w, r, who, p)
			defer room.Give()
			if err != nil {
				writeFailure(w, r, s.failureOf(ctx, r, err))
				return
			}
			cache = cacheNever
		}
		s.resolveSubject(ctx, p)
		var reply *reply
		err := s.runByCost(ctx, who, p, func() error {
			v, err := answer(ctx, p)
			if err == nil {
				reply = replyTo(r, v, cache)
			}
			return err
		})
		if err != nil {
			writeFailure(w, r, s.failureOf(ctx, r, err))
			return
		}
		room, ok := s.holdBytes(who, len(reply.body))
		defer room.Give()
		if !ok {
			writeFailure(w, r, s.failureOf(ctx, r, budget.ErrFull))
			return
		}
		reply.send(w, r)
	}
}

// runByCost runs a query in the semaphore of its cost. The look-up of the cost is a light query. A query that is light
// itself runs at once in the same slot. One that would read more of a list than its cost allows runs again in the
// semaphore of a higher cost.
func (s *server) runByCost(ctx context.Context, who budget.Client, p *params, run func() error) error {
	c := light
	ran := false
	err := s.inSemaphore(ctx, who, light, func() error {
		var err error
		c, err = s.costOf(ctx, p)
		if err != nil || c != light {
			return err
		}
		ran = true
		p.walk = walks[light]
		return run()
	})
	for {
		next := longer(c, err)
		if ran && next == c || !ran && err != nil {
			return err
		}
		c = next
		ran = true
		p.walk = walks[c]
		err = s.inTurns(ctx, who, c, func(pause func() error) error {
			p.pause = pause
			return run()
		})
	}
}

// readBody reads the JSON of a request into p. The caller gives the grant back, after an error too.
func (s *server) readBody(ctx context.Context, w http.ResponseWriter, r *http.Request, who budget.Client,
	p *params) (*budget.Grant, error) {
	// net/http reads the rest of a body that is refused: the deadline bounds that.
	late, _ := ctx.Deadline()
	if err := http.NewResponseController(w).SetReadDeadline(late); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, errBodyBrokeOff
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != typeJSON {
		return nil, invalid("body", "must have the Content-Type %s", typeJSON)
	}
	if r.ContentLength > maxBody {
		return nil, errBodyTooLarge
	}
	var room *budget.Grant
	if r.ContentLength < 0 || r.ContentLength > smallBytes {
		var err error
		room, err = s.memory.Take(ctx, who, 2*maxBody) // its text, and the names in it
		if err != nil {
			return nil, err
		}
	}
	p.read(http.MaxBytesReader(w, r.Body, maxBody))
	if errors.Is(p.err, errBodyTooLarge) || errors.Is(p.err, errBodyBrokeOff) {
		return room, p.err
	}
	return room, nil
}

// usualBody is the size of a page of 100 records, in bytes.
const usualBody = 10 << 10

// bodies are buffers of answers that have been encoded.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, usualBody); return &b }}

// encodeJSON panics when v cannot be encoded. Every type of package wire can.
func encodeJSON(v any) []byte {
	if a, ok := v.(wire.Appender); ok {
		buf := bodies.Get().(*[]byte)
		*buf = a.AppendJSON((*buf)[:0])
		body := bytes.Clone(*buf)
		if cap(*buf) <= 4*usualBody {
			bodies.Put(buf)
		}
		return body
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // links have many &, which \u0026 makes unreadable
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, cache string, v any) {
	newReply(r, status, typeJSON, cache, encodeJSON(v)).send(w, r)
}

func writeFailure(w http.ResponseWriter, r *http.Request, f *failure) {
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1") // seconds, the header's minimum
	}
	writeJSON(w, r, f.status, cacheNever, f)
}

// reply is an answer before it is written.
type reply struct {
	status                            int
	contentType, cache, encoding, tag string
	body                              []byte
	unchanged                         bool   // the client's copy is current
	modified                          string // for Last-Modified; empty: unknown
	embedded                          bool   // other sites embed it, and it must not run scripts
}

// file is an answer that isn't JSON.
type file struct {
	contentType, cache string
	modified           time.Time // time of its newest part; zero: unknown
	body               []byte
}

// replyTo returns the answer of a query: a file, or JSON.
func replyTo(r *http.Request, v any, cache string) *reply {
	f, ok := v.(file)
	if !ok {
		return newReply(r, http.StatusOK, typeJSON, cache, encodeJSON(v))
	}
	a := newReply(r, http.StatusOK, f.contentType, f.cache, f.body)
	a.embedded = true
	if f.modified.IsZero() {
		return a
	}
	a.modified = f.modified.UTC().Format(http.TimeFormat)
	// If-None-Match wins (RFC 9110, section 13.2.2). A removal of the newest link makes the time older. So an equal
	// time is the same answer, and any other time is another answer.
	if r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == a.modified {
		a.unchanged = true
	}
	return a
}

// newReply returns an answer with a whole body, compressed as the client accepts it.
func newReply(r *http.Request, status int, contentType, cache string, body []byte) *reply {
	a := &reply{status: status, contentType: contentType, cache: cache}
	if status == http.StatusOK && cache != cacheNever {
		a.tag = etag(body)
		if matches(r.Header.Values("If-None-Match"), a.tag) {
			a.unchanged = true
			return a
		}
	}
	a.body, a.encoding = encode(r.Header.Values("Accept-Encoding"), body)
	if a.encoding != "" && a.tag != "" {
		a.tag = "W/" + a.tag // the bytes differ but the content is the same
	}
	return a
}

// send writes an answer, without the body for HEAD.
func (a *reply) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	values := new([4]string) // of headers that are single, in one allocation
	set := func(i int, name, value string) {
		values[i] = value
		h[name] = values[i : i+1 : i+1]
	}
	set(0, "Cache-Control", a.cache)
	if a.modified != "" {
		h.Set("Last-Modified", a.modified)
	}
	if a.embedded {
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors *")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("X-Content-Type-Options", "nosniff")
	}
	if a.tag != "" {
		set(1, "Etag", a.tag)
	}
	if a.unchanged {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	set(2, "Content-Type", a.contentType)
	if a.encoding != "" {
		h.Set("Content-Encoding", a.encoding)
	}
	set(3, "Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // it fails only when the client has left
	}
}

// etag returns 96 bits of the SHA-256 of a body, enough to distinguish all answers of a client.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	var text [18]byte
	text[0] = '"'
	base64.RawURLEncoding.Encode(text[1:17], sum[:12])
	text[17] = '"'
	return string(text[:])
}

// matches reports whether If-None-Match has a tag. It compares weakly, as the header does: a proxy that compresses
// makes tags weak.
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
