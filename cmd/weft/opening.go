package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db/panics"
	"weft.dev/weft/humanize"
)

// retryAfter is the Retry-After header while the index is opened, in seconds.
const retryAfter = "5"

// opening answers every query with 503 and the progress while the index is opened. A restore or a replay takes minutes.
type opening struct {
	listener *sharedListener
	server   *http.Server
	status   atomic.Pointer[string]
	ended    chan struct{}
	once     sync.Once
}

// startOpening starts to answer on a listener. After stop, another server can use the listener.
func startOpening(l net.Listener, version string, logger *slog.Logger) *opening {
	o := &opening{listener: &sharedListener{Listener: l}, ended: make(chan struct{})}
	o.report("starting")
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+routes.Health.Path, func(w http.ResponseWriter, _ *http.Request) {
		o.write(w, http.StatusOK, wire.Health{Version: version})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", retryAfter)
		o.write(w, http.StatusServiceUnavailable, wire.Failure{Name: "NotReady", Message: "opening the index: " +
			*o.status.Load()})
	})
	o.server = newServer(mux, logger)
	o.server.ReadTimeout = readHeaderTimeout
	go func() {
		defer close(o.ended)
		defer panics.Log(logger, "opening")
		err := o.server.Serve(o.listener)
		if !errors.Is(err, http.ErrServerClosed) {
			logger.Warn("cannot answer requests while the index opens", "err", err)
		}
	}()
	return o
}

func (o *opening) write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may have disconnected
}

// report sets the progress that queries get.
func (o *opening) report(status string) { o.status.Store(&status) }

// progress is a db.Config.Progress.
func (o *opening) progress(what string, done, all uint64) {
	if all > 0 {
		what = fmt.Sprintf("%s, row %s of %s", what, humanize.Number(int64(done)), humanize.Number(int64(all)))
	}
	o.report(what)
}

// stop stops the server and releases the listener. A second call does nothing.
func (o *opening) stop() {
	o.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := o.server.Shutdown(ctx)
		if err != nil {
			_ = o.server.Close()
		}
		<-o.ended
		o.listener.release()
	})
}

// sharedListener is a listener that another server uses afterwards: Close interrupts Accept and leaves the socket open.
type sharedListener struct{ net.Listener }

type deadliner interface{ SetDeadline(t time.Time) error }

func (l *sharedListener) Close() error {
	d, ok := l.Listener.(deadliner)
	if !ok {
		return l.Listener.Close()
	}
	return d.SetDeadline(time.Unix(1, 0))
}

func (l *sharedListener) release() {
	d, ok := l.Listener.(deadliner)
	if ok {
		_ = d.SetDeadline(time.Time{})
	}
}
