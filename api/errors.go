package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weft.dev/weft/budget"
	"weft.dev/weft/db"
)

// failure is an error that the client is told about, in XRPC's shape.
type failure struct {
	status  int
	Name    string `json:"error"`
	Message string `json:"message"`
}

func (f *failure) Error() string { return f.Name + ": " + f.Message }

// invalid says what is wrong with a parameter, in words that follow its name.
func invalid(name, format string, args ...any) *failure {
	return &failure{http.StatusBadRequest, "InvalidRequest", "`" + name + "` " + fmt.Sprintf(format, args...)}
}

var (
	errCursor = invalid("cursor", "is not one that this query gave: "+
		"pass it back unchanged with the same other parameters, or leave it out to start at the beginning")
	errBodyTooLarge = &failure{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "`body` is too large: at most 1 MiB is allowed"}
	errBodyBrokeOff = invalid("body", "broke off, or took too long to arrive")

	errTimeout  = &failure{http.StatusServiceUnavailable, "Timeout", "the answer took too long: try again, or with a smaller `limit`"}
	errBusy     = &failure{http.StatusServiceUnavailable, "Busy", "too many requests wait already, or too many answers are not read: try again in a moment"}
	errFilters  = &failure{http.StatusTooManyRequests, "TooManyFilters", "the filters of this address, or of all, take too much memory: ask for fewer names, or for prefixes, DIDs or collections instead"}
	errInternal = &failure{http.StatusInternalServerError, "InternalServerError", "something went wrong here: it has been logged"}
)

// failureOf decides what a client is told about err. ctx is the one that the query ran under: once it is over, whatever error
// the query ended with comes from that. An internal error is logged here, and nowhere else.
func (s *server) failureOf(ctx context.Context, r *http.Request, err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, db.ErrBadCursor):
		return errCursor
	case errors.Is(err, budget.ErrFull):
		return errBusy
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errTimeout
	}
	s.Logger.Error("request failed", "path", r.URL.Path, "query", clip(r.URL.RawQuery), "err", err)
	return errInternal
}

// clip bounds what one request can put into the log: a query is mostly some 200 bytes, and may be a megabyte.
func clip(s string) string {
	const most = 1024
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// notFound tells an XRPC method that isn't served, whatever the HTTP method, from any other path.
func notFound(w http.ResponseWriter, r *http.Request) {
	if nsid, ok := strings.CutPrefix(r.URL.Path, "/xrpc/"); ok && nsid != "" {
		writeFailure(w, r, &failure{http.StatusNotImplemented, "MethodNotImplemented", "this XRPC method is not served here: / lists those that are"})
		return
	}
	writeFailure(w, r, &failure{http.StatusNotFound, "NotFound", "there is nothing at this path: / lists what there is"})
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	allowed := allowedAt(r.URL.Path)
	w.Header().Set("Allow", allowed)
	writeFailure(w, r, &failure{http.StatusMethodNotAllowed, "MethodNotAllowed", "this path answers to " + allowed + " only"})
}
