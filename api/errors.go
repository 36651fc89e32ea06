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

// invalid returns the failure of a parameter. The text follows its name.
func invalid(name, format string, args ...any) *failure {
	return newFailure(http.StatusBadRequest, "InvalidRequest", "`"+name+"` "+fmt.Sprintf(format, args...))
}

var (
	errCursor = invalid("cursor", "is not a cursor of this query: "+
		"send it unchanged with the same other parameters, or omit it to start at the beginning")
	errBodyTooLarge = newFailure(http.StatusRequestEntityTooLarge, "PayloadTooLarge",
		"`body` is too large: the limit is 1 MiB")
	errBodyBrokeOff = invalid("body", "is incomplete or arrived too slowly")

	errTimeout = newFailure(http.StatusServiceUnavailable, "Timeout",
		"the query took too long: try again, or use a smaller `limit`")
	errBusy = newFailure(http.StatusServiceUnavailable, "Busy",
		"the server is busy: too many requests are waiting, or too many clients read their answers slowly; try again "+
			"in a moment")
	errFilters = newFailure(http.StatusTooManyRequests, "TooManyFilters",
		"the filters of this client address, or of all clients, use too much memory: filter by fewer names, or by "+
			"prefixes, DIDs or collections")
	errInternal = newFailure(http.StatusInternalServerError, "InternalServerError",
		"internal error: the server has logged it")
)

// failureOf returns the failure that a client sees for err. ctx is the context of the query: once it is over, it is
// the cause of any error. failureOf logs internal errors, and no other code does.
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

// clip limits the part of a request in the log output: most queries have 200 bytes, but one may have a megabyte.
func clip(s string) string {
	const most = 1024
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// notFound answers an unknown XRPC method, with any HTTP method, differently from any other unknown path.
func notFound(w http.ResponseWriter, r *http.Request) {
	if nsid, ok := strings.CutPrefix(r.URL.Path, routes.Prefix); ok && nsid != "" {
		writeFailure(w, r, newFailure(http.StatusNotImplemented, "MethodNotImplemented",
			"this server does not have this XRPC method: / lists the methods it has"))
		return
	}
	writeFailure(w, r, newFailure(http.StatusNotFound, "NotFound", "this path does not exist: / lists the paths that do"))
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	allowed := allowedAt(r.URL.Path)
	w.Header().Set("Allow", allowed)
	writeFailure(w, r, newFailure(http.StatusMethodNotAllowed, "MethodNotAllowed", "this path accepts only "+allowed))
}
