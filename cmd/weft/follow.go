package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v3"

	"weft.dev/weft/api"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/db/replica/config"
)

// follower is the indexer of serve --follow: it keeps a read-only copy current from a replica.
type follower struct {
	config replica.FollowerConfig // open sets its logger
	follow *replica.Follower      // nil before open
	logger *slog.Logger
}

// open restores the copy or opens the one in the directory.
func (f *follower) open(ctx context.Context, d *daemon) error {
	f.logger = d.logger
	f.config.Logger = d.logger
	d.logger.Info("following a replica", "replica", f.config.Replica.Where(), "dir", f.config.Dir, "version",
		buildVersion())
	d.opening.report("waiting for the replica, to restore its newest state")
	follow := replica.NewFollower(f.config)
	err := follow.Open(ctx)
	if err != nil {
		return err
	}
	f.follow = follow
	d.registry.MustRegister(newStoreMetrics(&follow.Index().Index), newRetentionMetrics(&follow.Index().Index),
		newFollowMetrics(follow))
	return nil
}

func (f *follower) configure(c *api.Config) {
	index := f.follow.Index()
	c.Store = index
	c.InstanceID = index.Instance()
	c.TopFile = filepath.Join(f.config.Dir, topFile)
	c.Current = f.follow.Ready
	c.Degraded = f.degraded
	c.Following = func() *wire.Following {
		st := f.follow.Status()
		return &st
	}
	c.Activity = func() api.Activity {
		lag, seq := f.follow.Lag()
		return api.Activity{Events: seq, Lag: lag}
	}
}

// degraded returns the reason why the copy is behind its replica; empty: it is not behind.
func (f *follower) degraded() string {
	err := f.follow.Ready(behindAfter)
	if err != nil {
		return err.Error()
	}
	return ""
}

// Headers of each answer of a follower.
const (
	lagHeader = "Weft-Lag" // age in seconds of the state that the answer shows
	seqHeader = "Weft-Seq" // newest log row of that state
)

// handler adds the headers. An answer is at least as new as they state.
func (f *follower) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lag, seq := f.follow.Lag()
		w.Header().Set(lagHeader, strconv.FormatFloat(lag.Seconds(), 'f', 3, 64))
		w.Header().Set(seqHeader, strconv.FormatUint(seq, 10))
		next.ServeHTTP(w, r)
	})
}

func (f *follower) start(g *group) {
	g.start("follow", func() error { return f.follow.Run(g.ctx) })
}

func (f *follower) stop(context.Context) error { return nil }

func (f *follower) close() error {
	if f.follow == nil {
		return nil
	}
	f.logger.Info("closing the database")
	return f.follow.Close()
}

// newFollowMetrics returns metrics of the lag of a follower.
func newFollowMetrics(f *replica.Follower) prometheus.Collector {
	type figures = figure[wire.Following]
	return newCollector(func() (wire.Following, error) { return f.Status(), nil },
		figures{name: "weft_follow_lag_seconds",
			help:  "Age of the newest transaction served; it grows while the primary writes nothing.",
			value: func(st *wire.Following) float64 { return st.LagSeconds }},
		figures{name: "weft_follow_look_seconds", help: "Time since the follower last served everything in the replica.",
			value: func(st *wire.Following) float64 { return st.LookSeconds }},
		figures{name: "weft_follow_missing_segments", help: "Segments being downloaded.",
			value: func(st *wire.Following) float64 { return float64(st.MissingSegments) }},
		figures{name: "weft_follow_missing_bytes", help: "Size of the segments being downloaded.",
			value: func(st *wire.Following) float64 { return float64(st.MissingBytes) }},
		figures{name: "weft_follow_failing", help: "1 while following the replica fails.",
			value: func(st *wire.Following) float64 { return boolean(st.LastError != "") }},
	)
}

// followFlags are serve's flags about following another weft.
func followFlags() []cli.Flag {
	return variables("WEFT_",
		&cli.StringFlag{
			Name: "follow",
			Usage: "serve a read-only copy of another weft's index, updated from the replica in this litestream.yml (`FILE`); " +
				"a replica can have many followers",
		},
		&cli.DurationFlag{
			Name: "follow-every", Value: 250 * time.Millisecond,
			Usage: "how often --follow polls the replica; each poll is one request",
		},
	)
}

// followerFlags are the flags that work with --follow. The others configure a writer.
func followerFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{dataFlag()}, memoryFlags(), followFlags(), listenFlags(""), clientFlags())
}

// followerOf reads serve's flags with --follow.
func followerOf(cmd *cli.Command) (*follower, error) {
	var works []string
	for _, flag := range followerFlags() {
		works = append(works, flag.Names()[0])
	}
	var wrong []string
	for _, flag := range cmd.Flags {
		name := flag.Names()[0]
		if cmd.IsSet(name) && !slices.Contains(works, name) {
			wrong = append(wrong, "--"+name)
		}
	}
	every := cmd.Duration("follow-every")
	switch {
	case len(wrong) > 0:
		return nil, &usageError{fmt.Errorf("--follow is read-only: remove %s (or its environment variable)",
			strings.Join(wrong, ", "))}
	case every <= 0:
		return nil, &usageError{errors.New("--follow-every must be a duration such as 250ms")}
	}
	file, err := config.Read(cmd.String("follow"))
	if err != nil {
		return nil, &usageError{fmt.Errorf("--follow: %w", err)}
	}
	cache, err := cacheOf(cmd)
	if err != nil {
		return nil, err
	}
	return &follower{config: replica.FollowerConfig{
		Replica: file, PollInterval: every, Dir: cmd.String("data"), CacheBytes: cache,
	}}, nil
}
