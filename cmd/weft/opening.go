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
)

// retryAfter is what a client is told to wait while the index is opened, in seconds.
const retryAfter = "5"

// opening answers queries while the index is opened, which takes minutes where it is restored or replayed: that it isn't ready,
// and what is being done. The listener is as good as new afterwards.
type opening struct {
	listener *borrowed
	server   *http.Server
	what     atomic.Pointer[string]
	ended    chan struct{}
	once     sync.Once
}

// answerOpening begins to answer on a listener. Its end has to be called before the listener is used otherwise.
func answerOpening(l net.Listener, version string, logger *slog.Logger) *opening {
	o := &opening{listener: &borrowed{Listener: l}, ended: make(chan struct{})}
	o.tell("starting")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /xrpc/_health", func(w http.ResponseWriter, _ *http.Request) {
		o.write(w, http.StatusOK, map[string]string{"version": version})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", retryAfter)
		o.write(w, http.StatusServiceUnavailable, map[string]string{"error": "NotReady", "message": "opening the index: " + *o.what.Load()})
	})
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readHeaderTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug)}
	go func() {
		defer close(o.ended)
		if err := o.server.Serve(o.listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Warn("cannot answer requests while the index opens", "err", err)
		}
	}()
	return o
}

func (o *opening) write(w http.ResponseWriter, code int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// tell says what is being done.
func (o *opening) tell(what string) { o.what.Store(&what) }

// progress is db.Config.Progress.
func (o *opening) progress(what string, done, all uint64) {
	if all > 0 {
		what = fmt.Sprintf("%s, row %s of %s", what, thousands(int64(done)), thousands(int64(all)))
	}
	o.tell(what)
}

// end ends the answers, and gives the listener back. A second call does nothing.
func (o *opening) end() {
	o.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := o.server.Shutdown(ctx); err != nil {
			_ = o.server.Close()
		}
		<-o.ended
		o.listener.giveBack()
	})
}

// borrowed is a listener that another server goes on with: to close it interrupts Accept, and no more.
type borrowed struct{ net.Listener }

type deadliner interface{ SetDeadline(t time.Time) error }

func (b *borrowed) Close() error {
	if l, ok := b.Listener.(deadliner); ok {
		return l.SetDeadline(time.Unix(1, 0))
	}
	return b.Listener.Close()
}

func (b *borrowed) giveBack() {
	if l, ok := b.Listener.(deadliner); ok {
		_ = l.SetDeadline(time.Time{})
	}
}
