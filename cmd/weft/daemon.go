package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"weft.dev/weft/api"
	"weft.dev/weft/web"
	"weft.dev/weft/web/handles"
)

// indexer keeps the index of a daemon current. It is a writer or a follower.
type indexer interface {
	// open opens the index and registers its metrics. It may take minutes, and reports progress to d.opening.
	open(ctx context.Context, d *daemon) error
	// configure sets the index, how current it is and its status in the configuration of the API.
	configure(c *api.Config)
	// handler wraps the handler of all queries.
	handler(next http.Handler) http.Handler
	// start starts the goroutines of the indexer.
	start(g *group)
	// stop returns when all received events are committed and uploaded. Queries are answered meanwhile.
	stop(ctx context.Context) error
	// close closes the index, also after an open that failed.
	close() error
}

// daemonConfig holds the settings that serve, serve --follow and demo share. Only listen and logger have to be set.
type daemonConfig struct {
	listen         string        // address for queries
	metricsListen  string        // address for Prometheus; "": none
	didWeb         string        // domain of the did:web; "": none
	addressHeader  string        // client-IP header of the reverse proxy; "": none
	subscribers    int           // live streams of one client IP; 0: the default of api.Streams
	maxLag         time.Duration // limit of the lag, above which /readyz is 503; 0: never
	rateLimit      int           // requests of one client IP in a minute; 0: no limit
	resolveHandles bool
	viewer         string            // URL of the viewer of records that pages link to
	directory      handles.Directory // resolver of handles; nil: the network's
	logger         *slog.Logger
	ready          func(*daemon, *group) // called once, when the daemon begins to answer queries; nil: not called
}

// daemon serves an index over HTTP while a source keeps it current.
type daemon struct {
	daemonConfig
	indexer  indexer
	faults   faults
	registry *prometheus.Registry
	queries  net.Listener
	metrics  net.Listener // nil: none
	opening  *opening
	stopping atomic.Bool
}

// behindAfter is the lag from which an index is degraded. A reconnect or a failover to another upstream takes less.
const behindAfter = time.Minute

var errStopping = errors.New("shutting down")

// newDaemon binds the addresses. It makes nothing on disk, so that a daemon that cannot listen leaves no index behind.
func newDaemon(c daemonConfig, x indexer) (*daemon, error) {
	d := &daemon{daemonConfig: c, indexer: x, registry: prometheus.NewRegistry(), faults: faults{now: time.Now}}
	d.logger = slog.New(d.faults.handler(c.logger.Handler()))
	d.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	d.queries, err = net.Listen("tcp", c.listen)
	if err != nil {
		return nil, fmt.Errorf("listen for queries (--listen chooses another address): %w", err)
	}
	if c.metricsListen == "" {
		return d, nil
	}
	d.metrics, err = net.Listen("tcp", c.metricsListen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for metrics (--metrics-listen chooses another address): %w", err),
			d.close())
	}
	return d, nil
}

// close releases the addresses if run has not done so.
func (d *daemon) close() error {
	_ = d.queries.Close()
	if d.metrics != nil {
		_ = d.metrics.Close()
	}
	return nil
}

// listenURL returns the URL of a listener.
func listenURL(l net.Listener) string { return "http://" + l.Addr().String() }

// run serves until ctx ends. It then stops in order: report not ready, stop ingest, commit, upload the rest to the
// replica, end the streams, close the connections, checkpoint, close the index.
func (d *daemon) run(ctx context.Context) (err error) {
	d.opening = startOpening(d.queries, buildVersion(), d.logger)
	defer d.opening.stop()
	defer func() { err = errors.Join(err, d.indexer.close()) }()
	err = d.indexer.open(ctx, d)
	if err != nil && ctx.Err() != nil {
		d.logger.Info("interrupted while opening the index; the next start resumes", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	answers, pages := d.handlers()
	// Streams outlive ctx: subscribers get everything that is committed before they are disconnected.
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()

	g := newGroup(ctx, d.logger)
	d.opening.stop()
	servers := d.startServers(g, d.indexer.handler(pages))
	if d.ready != nil {
		d.ready(d, g)
	}
	d.indexer.start(g)
	g.start("history", func() error { return answers.Watch(streams) })
	g.start("top", func() error { return answers.CountTop(streams) })
	streamed := g.start("streams", func() error { return answers.Run(streams) })
	g.start("pages", func() error { return pages.Run(streams) })
	g.start("shutdown", func() error {
		<-g.ctx.Done()
		d.logger.Info("shutting down: not ready")
		d.stopping.Store(true)
		ctx := context.WithoutCancel(ctx)
		err := d.indexer.stop(ctx)
		return errors.Join(err, d.closeConnections(ctx, endStreams, streamed, servers))
	})
	return g.wait()
}

// handlers returns the handler of the API and that of the pages, which answers everything.
func (d *daemon) handlers() (*api.Server, *web.Server) {
	c := api.Config{
		Version: buildVersion(), DIDWeb: d.didWeb, Faults: d.faults.recent, Logger: d.logger, Metrics: d.registry,
		MaxLag: d.maxLag, AddressHeader: d.addressHeader, RatePerMinute: d.rateLimit,
		Streams:   api.Streams{PerAddress: d.subscribers},
		AccessLog: d.logger.Enabled(context.Background(), slog.LevelDebug),
	}
	c.Ready = func() error {
		if d.stopping.Load() {
			return errStopping
		}
		return nil
	}
	d.indexer.configure(&c)
	page := web.Config{
		Store: c.Store, Logger: d.logger, Viewer: d.viewer,
		Current: func() error {
			err := c.Ready()
			if err != nil {
				return err
			}
			return c.Current(behindAfter)
		},
		Lag: func() time.Duration { return c.Activity().Lag },
	}
	if d.resolveHandles {
		names := handles.New(handles.Config{Directory: d.directory})
		c.Handles = names
		page.Names = names
	}
	c.Words = web.Words{Names: page.Names}
	answers := api.New(c)
	page.API = answers
	page.Limits = answers
	return answers, web.New(page)
}

// closeConnections ends the streams and the servers. Requests get drainTimeout.
func (d *daemon) closeConnections(
	ctx context.Context, endStreams func(), streamed <-chan struct{}, servers []*http.Server,
) error {
	d.logger.Info("closing connections; waiting for the requests under way", "at_most", drainTimeout)
	drain, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	endStreams()
	select {
	case <-streamed:
	case <-drain.Done():
	}
	var errs []error
	for _, server := range servers {
		err := server.Shutdown(drain)
		if err != nil {
			errs = append(errs, server.Close())
		}
	}
	return errors.Join(errs...)
}
