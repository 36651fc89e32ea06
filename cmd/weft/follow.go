package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/api"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/web"
	"weft.dev/weft/web/handles"
)

// followFlags are serve's flags about following another weft.
func followFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: "follow", Sources: cli.EnvVars("WEFT_FOLLOW"),
			Usage: "serve a read-only copy of another weft's index, updated from the replica in this litestream.yml (`FILE`); a replica can have many followers",
		},
		&cli.DurationFlag{
			Name: "follow-every", Sources: cli.EnvVars("WEFT_FOLLOW_EVERY"), Value: 250 * time.Millisecond,
			Usage: "how often --follow polls the replica; each poll is one request",
		},
		&cli.DurationFlag{
			Name: "max-lag", Sources: cli.EnvVars("WEFT_MAX_LAG"), Value: time.Minute,
			Usage: "report not ready when the follower is this far behind its replica (0: never)",
		},
	}
}

// followTakes are the flags that mean something with --follow. The others are about what is read from the network and
// written, which a follower doesn't do.
var followTakes = []string{"follow", "follow-every", "max-lag", "data", "listen", "metrics-listen", "did-web", "address-header", "rate-limit",
	"access-log", "subscribers", "log-level", "log-format", "cache", "resolve-handles"}

// serveFollow is serve with --follow.
func serveFollow(ctx context.Context, cmd *cli.Command, stdout, stderr io.Writer) error {
	var wrong []string
	for _, flag := range cmd.Flags {
		if name := flag.Names()[0]; cmd.IsSet(name) && !slices.Contains(followTakes, name) && name != "help" {
			wrong = append(wrong, "--"+name)
		}
	}
	every := cmd.Duration("follow-every")
	switch {
	case len(wrong) > 0:
		return &usageError{"serve", fmt.Errorf("--follow is read-only: remove %s (or its environment variable)", strings.Join(wrong, ", "))}
	case every <= 0:
		return &usageError{"serve", errors.New("--follow-every must be a duration such as 250ms")}
	case cmd.Duration("max-lag") < 0:
		return &usageError{"serve", errors.New("--max-lag must be 0 or a duration such as 1m")}
	}
	cfg, err := replica.ReadConfig(cmd.String("follow"))
	if err != nil {
		return &usageError{"serve", fmt.Errorf("--follow: %w", err)}
	}
	cache, err := cacheOf(cmd)
	if err != nil {
		return err
	}
	logger, err := newLogger(cmd, stderr)
	if err != nil {
		return err
	}
	s := &service{
		data: cmd.String("data"), cache: cache, listen: cmd.String("listen"), metrics: cmd.String("metrics-listen"), didWeb: cmd.String("did-web"),
		addressHeader: cmd.String("address-header"), perAddress: cmd.Int("subscribers"), rate: cmd.Int("rate-limit"),
		accessLog: cmd.Bool("access-log"), handles: cmd.Bool("resolve-handles"), logger: logger,
		up: func(url string) {
			fmt.Fprintf(stdout, "weft serves on %s and follows the replica %s\n", url, cfg.Where())
		},
	}
	return s.runFollow(ctx, replica.FollowConfig{Replica: cfg, Every: every}, cmd.Duration("max-lag"))
}

// runFollow serves a copy until ctx ends. Queries are answered once it is complete.
func (s *service) runFollow(ctx context.Context, cfg replica.FollowConfig, maxLag time.Duration) (err error) {
	s.faults.now = time.Now
	s.logger = slog.New(s.faults.handler(s.logger.Handler()))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.bind(); err != nil {
		return err
	}
	defer s.unbind()
	s.logger.Info("following a replica", "replica", cfg.Replica.Where(), "dir", s.data, "version", buildVersion())
	cfg.Dir, cfg.CacheBytes, cfg.Logger = s.data, s.cache, s.logger
	opening := answerOpening(s.listeners[0], buildVersion(), s.logger)
	defer opening.end()
	opening.tell("restoring from the replica")
	f := replica.NewFollow(cfg)
	if err := f.Open(ctx); err != nil {
		if ctx.Err() != nil {
			s.logger.Info("interrupted; the next start resumes")
			return nil
		}
		return err
	}
	defer func() {
		s.logger.Info("closing the database")
		err = errors.Join(err, f.Close())
	}()
	index := f.Index()
	registry.MustRegister(newStoreMetrics(&index.Index), newFollowMetrics(f))
	ready := func() error {
		if s.stopping.Load() {
			return errStopping
		}
		return f.Ready(maxLag)
	}
	apiConfig := api.Config{
		Store: index, InstanceID: index.Instance(), Version: buildVersion(), DIDWeb: s.didWeb, Ready: ready,
		Following: func() *wire.Following { st := f.Status(); return &st }, Faults: s.faults.recent, Activity: func() api.Activity {
			lag, seq := f.Lag()
			return api.Activity{Events: seq, Lag: lag}
		}, Logger: s.logger, Metrics: registry,
		AddressHeader: s.addressHeader, RatePerMinute: s.rate, AccessLog: s.accessLog, Streams: api.Streams{PerAddress: s.perAddress},
	}
	var names *handles.Handles
	if s.handles {
		names = handles.New(handles.Config{})
		apiConfig.Handles = names
	}
	answers := api.New(apiConfig)
	page := web.Config{API: answers, Limits: answers, Store: index, Ready: ready, Logger: s.logger, Lag: func() time.Duration {
		lag, _ := f.Lag()
		return lag
	}}
	if names != nil {
		page.Names = names
	}
	pages := web.New(page)
	streamCtx, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	g, groupCtx := errgroup.WithContext(ctx)
	opening.end()
	servers := s.serve(g, tellLag(f, pages), registry)
	s.start(g, "history", func() error { return answers.Watch(streamCtx) })
	streamed := make(chan struct{})
	s.start(g, "streams", func() error {
		defer close(streamed)
		return answers.Run(streamCtx)
	})
	s.start(g, "pages", func() error { return pages.Run(streamCtx) })
	s.start(g, "follow", func() error { return f.Run(groupCtx) })
	s.start(g, "shutdown", func() error {
		<-groupCtx.Done()
		s.logger.Info("shutting down: not ready")
		s.stopping.Store(true)
		return s.closeConnections(ctx, endStreams, streamed, servers)
	})
	return g.Wait()
}

// Headers of each answer of a follower: how many seconds ago its primary had what it shows, and the newest log row of that.
const (
	lagHeader = "Weft-Lag"
	seqHeader = "Weft-Seq"
)

// tellLag writes them. An answer is never older than they say.
func tellLag(f *replica.Follow, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lag, seq := f.Lag()
		w.Header().Set(lagHeader, strconv.FormatFloat(lag.Seconds(), 'f', 3, 64))
		w.Header().Set(seqHeader, strconv.FormatUint(seq, 10))
		next.ServeHTTP(w, r)
	})
}

// followMetrics reads how far a follow is when that is asked for.
type followMetrics struct {
	follow *replica.Follow
	descs  []*prometheus.Desc
}

func newFollowMetrics(f *replica.Follow) *followMetrics {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &followMetrics{f, []*prometheus.Desc{
		desc("weft_follow_lag_seconds", "Age of the newest transaction served; it grows while the primary writes nothing."),
		desc("weft_follow_look_seconds", "Time since the follower last served everything in the replica."),
		desc("weft_follow_missing_segments", "Segments being downloaded."),
		desc("weft_follow_missing_bytes", "Size of the segments being downloaded."),
		desc("weft_follow_failing", "1 while following the replica fails."),
	}}
}

// Describe implements prometheus.Collector.
func (m *followMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *followMetrics) Collect(ch chan<- prometheus.Metric) {
	st, failing := m.follow.Status(), 0.0
	if st.LastError != "" {
		failing = 1
	}
	for i, v := range []float64{st.LagSeconds, st.LookSeconds, float64(st.MissingSegments), float64(st.MissingBytes), failing} {
		ch <- prometheus.MustNewConstMetric(m.descs[i], prometheus.GaugeValue, v)
	}
}
