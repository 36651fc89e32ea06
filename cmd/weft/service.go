package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/api"
	"weft.dev/weft/api/budget"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/ingest"
	"weft.dev/weft/web"
	"weft.dev/weft/web/handles"
)

// service is a weft that runs: a store, an ingest that fills it and servers that answer from it.
type service struct {
	jetstream  []string // the preferred one first
	key        string
	from       ingest.From
	data       string
	checkpoint checkpoint.Rule
	window     time.Duration // of the log; 0: for ever
	bodies     db.Bodies
	cache      int64 // bytes
	ruleGiven  bool  // checkpoint is meant, and not a default
	listen     string

	replica      *replica.Config // nil: none
	replicaAlarm time.Duration   // how far it may be behind; 0: as far as it likes
	verifyEvery  time.Duration   // 0: never
	metrics      string          // address; empty: none
	didWeb       string

	addressHeader string // in which a proxy says whom a request is from; empty: none
	perAddress    int    // subscribers of one address; 0: the default
	rate          int    // requests of one address in a minute; 0: any number
	accessLog     bool
	handles       bool // are resolved, for pages and for subjects
	logger        *slog.Logger
	up            func(url string) // called once queries are answered

	slice    ingest.SliceConfig
	keeps    *ingest.Slice // the same; nil: all
	change   sliceChange
	yes      bool      // a large backfill is meant
	yesAbove int64     // what is large, in bytes; 0: yesAbove
	stderr   io.Writer // where a bar shows how far a replay is; nil: nowhere

	listeners  []net.Listener // for queries, and for metrics
	sliceState ingest.SliceState
	opening    *opening // answers while the index is opened
	metricsURL string   // set before up is called; empty: none

	stopping atomic.Bool
	store    *db.Store
	ingest   *ingest.Ingest
	faults   faults
}

const (
	// A slow client must not hold a connection for ever before it has said what it wants.
	readHeaderTimeout = 10 * time.Second
	// 1 MiB in this time is less than a slow phone has.
	bodyTimeout = 10 * time.Second
	// Longer than the API gives an answer, so that its own error arrives.
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	// A many-to-many query may name hundreds of subjects in its URL.
	maxHeaderBytes = 64 << 10
	// How long answers under way may take after the end was asked for.
	drainTimeout = 10 * time.Second
)

// run serves until ctx ends, and then closes in order: not ready, stop ingest, commit, checkpoint, replicate the rest, close.
func (s *service) run(ctx context.Context) (err error) {
	s.faults.now = time.Now
	s.logger = slog.New(s.faults.handler(s.logger.Handler()))
	if err := s.bind(); err != nil {
		return err
	}
	defer s.unbind()
	s.opening = answerOpening(s.listeners[0], buildVersion(), s.logger)
	defer s.opening.end()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.logger.Info("opening the data directory", "dir", s.data, "version", buildVersion())
	rep, err := s.openIndex(ctx, registry)
	if err != nil && ctx.Err() != nil {
		s.logger.Info("interrupted while opening the index; the next start resumes", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() {
		s.logger.Info("closing the database")
		err = errors.Join(err, rep.close(s.store))
	}()
	if rep != nil {
		if err := rep.replicator.Open(ctx, s.store); err != nil {
			return err
		}
	}
	registry.MustRegister(newStoreMetrics(&s.store.Index), newCheckpointMetrics(s.store), newRespelling(s.store))
	registry.MustRegister(newWriterMetrics(s.store)...)
	if err := s.applySlice(ctx); err != nil {
		return err
	}
	if err := s.planBackfill(ctx); err != nil {
		return err
	}
	s.ingest = ingest.New(ingest.Config{
		Hosts: s.jetstream, Key: s.key, From: s.from, Store: s.store, Logger: s.logger, Metrics: registry,
		Bodies: s.bodies != db.BodiesOff, Slice: s.keeps,
	})
	apiConfig := api.Config{
		Store: s.store, InstanceID: s.store.Instance(), Version: buildVersion(), DIDWeb: s.didWeb,
		Ready: s.ready, Upstream: s.upstream, Faults: s.faults.recent, Activity: s.activity, Logger: s.logger, Metrics: registry,
		AddressHeader: s.addressHeader, RatePerMinute: s.rate, AccessLog: s.accessLog, Streams: api.Streams{PerAddress: s.perAddress},
		Degraded: func() string { return s.degraded(rep) },
	}
	if rep != nil {
		apiConfig.Replication = rep.status
	}
	var names *handles.Handles
	if s.handles {
		names = handles.New(handles.Config{})
		apiConfig.Handles = names
	}
	answers := api.New(apiConfig)
	page := web.Config{API: answers, Limits: answers, Store: s.store, Ready: s.ready, Lag: s.ingest.Lag, Logger: s.logger}
	if names != nil {
		page.Names = names
	}
	pages := web.New(page)
	streamCtx, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()

	// Reading and writing end apart: queries are answered until all is committed.
	ingestCtx, stopIngest := context.WithCancel(context.WithoutCancel(ctx))
	defer stopIngest()
	g, groupCtx := errgroup.WithContext(ctx)
	s.opening.end()
	servers := s.serve(g, pages, registry)
	if s.stderr != nil {
		s.start(g, "progress", func() error {
			s.showProgress(ingestCtx, s.stderr)
			return nil
		})
	}
	s.start(g, "history", func() error { return answers.Watch(streamCtx) })
	streamed := make(chan struct{})
	s.start(g, "streams", func() error {
		defer close(streamed)
		return answers.Run(streamCtx)
	})
	s.start(g, "pages", func() error { return pages.Run(streamCtx) })
	ingested := make(chan struct{})
	s.start(g, "ingest", func() error {
		defer close(ingested)
		if err := s.ingest.Run(ingestCtx); err != nil {
			// The store has latched. Queries go on, and /readyz says why nothing new comes.
			s.logger.Error("writing has stopped; queries still work", "err", err, "do", "fix the cause of the error and restart weft")
		}
		return nil
	})
	replicaCtx, stopReplica := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReplica()
	replicated := make(chan struct{})
	if rep != nil {
		s.start(g, "replica", func() error {
			defer close(replicated)
			rep.run(replicaCtx)
			return nil
		})
		s.start(g, "replica alarm", func() error {
			rep.watch(replicaCtx)
			return nil
		})
		if rep.verifier != nil {
			s.start(g, "verify", func() error { return rep.verifier.Run(replicaCtx) })
		}
	}
	s.start(g, "shutdown", func() error {
		<-groupCtx.Done()
		s.logger.Info("shutting down: not ready")
		s.stopping.Store(true)
		s.logger.Info("stopping ingest")
		stopIngest()
		s.store.Hurry()
		<-ingested
		if err := s.store.Failed(); err != nil {
			s.logger.Warn("events received since the last commit are discarded; the next start reads them again from the upstream",
				"seq", s.store.Cursor(s.ingest.Host()), "err", err)
		} else {
			s.logger.Info("all received events are committed", "seq", s.store.Cursor(s.ingest.Host()))
		}
		var errs []error
		switch {
		case s.store.Failed() != nil:
		case rep != nil, s.checkpoint.Off():
			s.logger.Info("skipping the checkpoint: the replicator does it")
		default:
			s.logger.Info("checkpointing")
			if err := s.store.Checkpoint(); err != nil {
				s.logger.Warn("checkpoint failed; the next start does it", "err", err)
			}
		}
		if rep != nil {
			stopReplica()
			<-replicated
			if err := rep.flush(context.WithoutCancel(ctx)); err != nil {
				errs = append(errs, err)
			}
		}
		return errors.Join(append(errs, s.closeConnections(ctx, endStreams, streamed, servers))...)
	})
	return g.Wait()
}

// openIndex prepares the replica, and opens the index. Both may take minutes.
func (s *service) openIndex(ctx context.Context, registry *prometheus.Registry) (*replication, error) {
	rep, err := s.replicate(ctx, registry)
	if err != nil {
		return nil, err
	}
	cfg := db.Config{Dir: s.data, Logger: s.logger, CacheBytes: s.cache, Checkpoint: s.checkpoint, ReplayWindow: s.window, Bodies: s.bodies,
		Progress: s.opening.progress}
	if rep != nil {
		if err := rep.configure(&cfg, s.ruleGiven); err != nil {
			return nil, err
		}
	}
	if s.store, err = db.OpenContext(ctx, cfg); err != nil && rep != nil {
		err = errors.Join(err, rep.replicator.Close()) // gives the replica back
	}
	return rep, err
}

// closeConnections ends the streams and the servers.
func (s *service) closeConnections(ctx context.Context, endStreams func(), streamed <-chan struct{}, servers []*http.Server) error {
	s.logger.Info("closing connections")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	// Each subscriber gets what is committed, and a goodbye.
	endStreams()
	select {
	case <-streamed:
	case <-drain.Done():
	}
	var errs []error
	for _, server := range servers {
		if err := server.Shutdown(drain); err != nil {
			errs = append(errs, server.Close())
		}
	}
	return errors.Join(errs...)
}

// bind takes the addresses, before anything is made on disk: what can't be served makes no index.
func (s *service) bind() error {
	queries, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen for queries (--listen chooses another address): %w", err)
	}
	s.listeners = []net.Listener{queries}
	if s.metrics == "" {
		return nil
	}
	metrics, err := net.Listen("tcp", s.metrics)
	if err != nil {
		s.unbind()
		return fmt.Errorf("listen for metrics (--metrics-listen chooses another address): %w", err)
	}
	s.listeners = append(s.listeners, metrics)
	return nil
}

// unbind gives the addresses back; a server that has ended has done so.
func (s *service) unbind() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// serve starts the servers.
func (s *service) serve(g *errgroup.Group, handler http.Handler, registry *prometheus.Registry) []*http.Server {
	connections := budget.New(budget.Connections(s.addressHeader == ""))
	queries := budget.Listen(s.listeners[0], connections)
	servers := []*http.Server{s.startServer(g, "queries", queries, budget.Bodies(handler, bodyTimeout))}
	if len(s.listeners) > 1 {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		servers = append(servers, s.startServer(g, "metrics", s.listeners[1], mux))
		s.metricsURL = "http://" + s.listeners[1].Addr().String()
	}
	if s.up != nil {
		s.up("http://" + s.listeners[0].Addr().String())
	}
	return servers
}

func (s *service) startServer(g *errgroup.Group, name string, l net.Listener, handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	s.logger.Info("listening", "server", name, "address", l.Addr().String())
	s.start(g, name, func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", name, err)
		}
		return nil
	})
	return server
}

// start runs a named goroutine. A panic is logged with the name before it ends the process.
func (s *service) start(g *errgroup.Group, name string, do func() error) {
	g.Go(func() error {
		defer func() {
			if p := recover(); p != nil {
				s.logger.Error("panic", "goroutine", name, "panic", p, "stack", string(debug.Stack()))
				panic(p)
			}
		}()
		return do()
	})
}

func (s *service) upstream() *wire.Upstream {
	up := s.ingest.Status()
	up.Slice = describeSlice(s.slice)
	up.Parts = s.sliceState.Parts
	return &up
}

// activity is what /status has curves of.
func (s *service) activity() api.Activity {
	return api.Activity{Events: s.ingest.Received(), Lag: s.ingest.Lag()}
}

var errStopping = errors.New("shutting down")

// degraded says what is wrong, though answers are as they should be; empty: nothing.
func (s *service) degraded(rep *replication) string {
	reasons := []string{s.store.Degraded(), rep.degraded()}
	return strings.Join(slices.DeleteFunc(reasons, func(reason string) bool { return reason == "" }), "; ")
}

// ready is nil while the answers are up to date, and otherwise says why they are not.
func (s *service) ready() error {
	switch {
	case s.stopping.Load():
		return errStopping
	case s.store.Failed() != nil:
		return s.store.Failed()
	}
	return s.ingest.Ready()
}
