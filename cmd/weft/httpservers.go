package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weft.dev/weft/api/budget"
)

const (
	// readHeaderTimeout limits the time that a slow client holds a connection without a request.
	readHeaderTimeout = 10 * time.Second
	// bodyTimeout suffices for 1 MiB from a slow phone.
	bodyTimeout = 10 * time.Second
	// writeTimeout is longer than the limit of an answer in the API, so that the API's own error arrives.
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	// maxHeaderBytes allows a many-to-many query with hundreds of subjects in its URL.
	maxHeaderBytes = 64 << 10
	// drainTimeout is the time for requests under way at a shutdown.
	drainTimeout = 10 * time.Second
)

// startServers starts the servers of queries and metrics.
func (d *daemon) startServers(g *group, handler http.Handler) []*http.Server {
	connections := budget.New(budget.Connections(d.addressHeader == ""))
	queries := budget.Listen(d.queries, connections)
	servers := []*http.Server{d.startServer(g, "queries", queries, budget.Bodies(handler, bodyTimeout))}
	if d.metrics == nil {
		return servers
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{}))
	return append(servers, d.startServer(g, "metrics", d.metrics, mux))
}

func (d *daemon) startServer(g *group, name string, l net.Listener, handler http.Handler) *http.Server {
	server := newServer(handler, d.logger)
	d.logger.Info("listening", "server", name, "address", l.Addr().String())
	g.start(name, func() error {
		err := server.Serve(l)
		if !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", name, err)
		}
		return nil
	})
	return server
}

func newServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
