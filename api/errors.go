package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// failure is an error that the client sees.
type failure struct {
	status int
	wire.Failure
}

func newFailure(status int, name, message string) *failure {
	return &failure{status, wire.Failure{Name: name, Message: message}}
}

func (f *failure) Error() string { return f.Name + ": " + f.Message }

// invalid says what is wrong with a parameter, in words that follow its name.
func invalid(name, format string, args ...any) *failure {
	return newFailure(http.StatusBadRequest, "InvalidRequest", "`"+name+"` "+fmt.Sprintf(format, args...))
}

var (
	errCursor = invalid("cursor", "is not a cursor of this query: "+
		"send it unchanged with the same other parameters, or omit it to start at the beginning")
	errBodyTooLarge = newFailure(http.StatusRequestEntityTooLarge, "PayloadTooLarge", "`body` is too large: the limit is 1 MiB")
	errBodyBrokeOff = invalid("body", "is incomplete or arrived too slowly")

	errTimeout  = newFailure(http.StatusServiceUnavailable, "Timeout", "the query took too long: try again, or use a smaller `limit`")
	errBusy     = newFailure(http.StatusServiceUnavailable, "Busy", "the server is busy: too many requests are waiting, or too many clients read their answers slowly; try again in a moment")
	errFilters  = newFailure(http.StatusTooManyRequests, "TooManyFilters", "the filters of this client address, or of all clients, use too much memory: filter by fewer names, or by prefixes, DIDs or collections")
	errInternal = newFailure(http.StatusInternalServerError, "InternalServerError", "internal error: the server has logged it")
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
	if nsid, ok := strings.CutPrefix(r.URL.Path, routes.Prefix); ok && nsid != "" {
		writeFailure(w, r, newFailure(http.StatusNotImplemented, "MethodNotImplemented", "this server does not have this XRPC method: / lists the methods it has"))
		return
	}
	writeFailure(w, r, newFailure(http.StatusNotFound, "NotFound", "this path does not exist: / lists the paths that do"))
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	allowed := allowedAt(r.URL.Path)
	w.Header().Set("Allow", allowed)
	writeFailure(w, r, newFailure(http.StatusMethodNotAllowed, "MethodNotAllowed", "this path accepts only "+allowed))
}
