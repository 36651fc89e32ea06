package api

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
)

const (
	// preflightMaxAge is a day, in seconds. Browsers cap it lower, at two hours (Chromium) or a day (Firefox).
	preflightMaxAge = "86400"
)

// The values of headers of each answer. Nothing changes them, so that all answers share them.
var (
	everyOrigin    = []string{"*"}
	exposedHeaders = []string{
		"ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, Weft-Lag, Weft-Seq",
	}
	variedBy = []string{"Accept, Accept-Encoding"} // a browser may get a page where others get JSON
)

// openToAll lets every web page read every answer, and answers preflights for all paths alike.
func openToAll(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Access-Control-Allow-Origin"] = everyOrigin
		h["Access-Control-Expose-Headers"] = exposedHeaders
		h["Vary"] = variedBy
		if r.Method == http.MethodOptions {
			preflight(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// SeqHeader is the header with the newest log row that an answer certainly includes.
const SeqHeader = "Weft-Seq"

// nameSeq adds SeqHeader. It reads the row before the query, so that an answer is at least as new as its header.
func (s *server) nameSeq(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()[SeqHeader] = []string{strconv.FormatUint(s.Store.Seq(), 10)}
		next.ServeHTTP(w, r)
	})
}

// allowedAt returns the methods of a path for the header Allow. For an unknown path it returns those of most routes.
func allowedAt(path string) string {
	methods := []string{http.MethodGet, http.MethodHead}
	if route := routes.At(path); route != nil {
		methods = methodsOf(route)
	}
	return strings.Join(append(methods, http.MethodOptions), ", ")
}

func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	allowed := allowedAt(r.URL.Path)
	h.Set("Allow", allowed)
	h.Set("Access-Control-Allow-Methods", allowed)
	h.Set("Access-Control-Max-Age", preflightMaxAge)
	// "*" doesn't cover Authorization, which clients send to any service by habit; an echo does.
	headers := "*"
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		headers = asked
	}
	h.Set("Access-Control-Allow-Headers", headers)
	w.WriteHeader(http.StatusNoContent)
}

// observe counts and times each request by the route that answered it.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		noted := &notingWriter{ResponseWriter: w}
		defer func() {
			took := time.Since(begin)
			s.metrics.request(s.router.answering(r), classOf(r, noted.status), took)
			if s.AccessLog {
				s.Logger.Info("request", "method", clip(r.Method), "path", clip(r.URL.Path), "query", clip(r.URL.RawQuery),
					"status", noted.status,
					"bytes", noted.bytes, "duration", took, "address", s.clients.Of(r).Host, "user_agent", clip(r.UserAgent()))
			}
		}()
		next.ServeHTTP(noted, r)
	})
}

// notingWriter notes the status and the length of an answer.
type notingWriter struct {
	http.ResponseWriter
	status int // 0: the answer has not begun
	bytes  int64
}

// WriteHeader implements http.ResponseWriter. It drops a second status.
func (w *notingWriter) WriteHeader(status int) {
	informs := status < http.StatusOK && status != http.StatusSwitchingProtocols // the answer's status follows it
	if w.status == 0 || informs {
		w.ResponseWriter.WriteHeader(status)
	}
	if w.status == 0 && !informs {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *notingWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *notingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// classOf returns the class of a status: classGone for a 503 after the client has left, which isn't a failure of the
// server.
func classOf(r *http.Request, status int) int {
	if status == http.StatusServiceUnavailable && errors.Is(r.Context().Err(), context.Canceled) {
		return classGone
	}
	if status == 0 { // nothing was written
		status = http.StatusOK
	}
	return status/100 - 1
}

// recoverPanics answers 500 after a panic. It runs inside observe, whose writer knows whether an answer has begun. In
// that case it closes the connection, because a partial answer must not look complete.
func (s *server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			s.metrics.panics.Inc()
			s.Logger.Error("panic in a handler", "path", r.URL.Path, "query", clip(r.URL.RawQuery), "panic", v, "stack",
				string(debug.Stack()))
			if begun, ok := w.(*notingWriter); ok && begun.status != 0 {
				panic(http.ErrAbortHandler)
			}
			writeFailure(w, r, errInternal)
		}()
		next.ServeHTTP(w, r)
	})
}
