package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
	"weft.dev/weft/humanize"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/upstream"
)

const demoDescription = `
Starts a small Jetstream server with a synthetic network on loopback, indexes it as serve does, and prints example
queries. The accounts have handles, such as ` + sim.FirstHandle + `, and the content of records is kept, so that
names, previews and search work without the internet. The data directory is temporary. Ctrl-C stops it.`

const (
	// demoBacklog makes lists of several pages, and is generated and indexed in one or two seconds.
	demoBacklog = 50_000
	// demoRate is about the rate of the real network, so that counts visibly grow.
	demoRate = 400
	// demoEvery is the interval between two prints of the counts.
	demoEvery = 2 * time.Second
	// demoLookback is the number of events that the server replays without its archive. weft reads the backlog from the
	// archive, as on real servers.
	demoLookback = 200_000
)

func demoCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "demo",
		Usage:       "index a synthetic network, without internet access",
		Description: demoDescription,
		Flags: slices.Concat(variables("WEFT_DEMO_",
			&cli.FloatFlag{
				Name: "rate", Value: demoRate,
				Usage: "events per second",
			},
			&cli.Uint64Flag{
				Name: "seed", Value: 1,
				Usage: "random seed; the same seed makes the same network",
			},
		), bodiesFlags(db.BodiesKeep), listenFlags("warn")),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			err := noArgs(cmd)
			if err != nil {
				return err
			}
			rate := cmd.Float("rate")
			if rate <= 0 || rate > 100_000 {
				return &usageError{errors.New("--rate must be above 0 and at most 100000 events per second")}
			}
			return runDemo(ctx, cmd, stdout, stderr)
		},
	}
}

func runDemo(ctx context.Context, cmd *cli.Command, stdout, stderr io.Writer) error {
	config, err := daemonConfigOf(cmd, stderr)
	if err != nil {
		return err
	}
	bodies, err := bodiesOf(cmd)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weft-demo-")
	if err != nil {
		return fmt.Errorf("create a data directory: %w", err)
	}
	defer os.RemoveAll(dir)

	events := sim.NetworkConfig{Seed: cmd.Uint64("seed")}
	events.StartUS = time.Now().UnixMicro() - int64(demoBacklog)*1_000_000/demoRate
	fmt.Fprintf(stdout, "Generating %d past events…\n", demoBacklog)
	server, err := sim.NewServer(sim.ServerConfig{
		NetworkConfig: events, Backlog: demoBacklog, Rate: cmd.Float("rate"), WallClock: true,
		Lookback: demoLookback, Logger: config.logger,
	})
	if err != nil {
		return err
	}
	defer server.Close()
	config.resolveHandles = true
	config.directory = server.Directory()
	popular := popularTargets(sim.NewNetwork(events), demoBacklog)

	w := &writer{writerConfig: writerConfig{
		jetstream: []upstream.Endpoint{{URL: server.URL()}}, from: ingest.From{Start: true},
		db: db.Config{Dir: dir, Bodies: bodies},
	}}
	config.ready = func(d *daemon, g *group) {
		printTry(stdout, d, popular)
		g.start("counts", func() error { return printCounts(g.ctx, stdout, w.store, popular) })
	}
	g := newGroup(ctx, config.logger)
	// The network outlives ctx: weft would report an upstream that ends before it.
	network, endNetwork := context.WithCancel(context.WithoutCancel(ctx))
	g.start("network", func() error { return server.Run(network) })
	g.start("weft", func() error {
		defer endNetwork()
		return serve(g.ctx, config, w)
	})
	return g.wait()
}

// linkCount is a list and its length.
type linkCount struct {
	target string
	source db.Source
	links  int
}

// popularTargets finds the longest list of each kind of link that the demo shows, in the first events of a network.
func popularTargets(n *sim.Network, events int) []linkCount {
	type list struct {
		target string
		source db.Source
	}
	counts := map[list]int{}
	x := extract.New(extract.Limits{})
	for range events {
		e := n.Next()
		if e.CBOR == nil {
			continue
		}
		links, err := x.CBOR(e.CBOR)
		if err != nil {
			continue
		}
		for _, l := range links {
			counts[list{string(l.Target), db.Source{Collection: e.Collection, Path: string(l.Path)}}]++
		}
	}
	var found []linkCount
	for _, source := range []db.Source{
		{Collection: "app.bsky.feed.like", Path: "subject.uri"},
		{Collection: "app.bsky.graph.follow", Path: "subject"},
		{Collection: "app.bsky.feed.post", Path: "reply.parent.uri"},
		{Collection: "app.bsky.feed.post", Path: "embed.external.uri"},
		{Collection: "app.bsky.graph.listitem", Path: "list"},
	} {
		top := linkCount{source: source}
		for l, n := range counts {
			if l.source == source && (n > top.links || n == top.links && cmp.Compare(l.target, top.target) < 0) {
				top.target = l.target
				top.links = n
			}
		}
		if top.links > 0 {
			found = append(found, top)
		}
	}
	return found
}

// printTry prints example queries.
func printTry(w io.Writer, d *daemon, popular []linkCount) {
	base := listenURL(d.queries)
	fmt.Fprintf(w, "\nweft is running. Open it in a browser: %s/\nOr query it from another terminal:\n\n", base)
	show := func(what string, route *routes.Route, query ...string) {
		q := make([]string, 0, len(query)/2)
		for kv := range slices.Chunk(query, 2) {
			q = append(q, kv[0]+"="+queryEscape(kv[1]))
		}
		fmt.Fprintf(w, "  # %s\n  curl '%s%s?%s'\n\n", what, base, route.Path, strings.Join(q, "&"))
	}
	for i, l := range popular {
		source := l.source.Collection + ":" + l.source.Path
		switch i {
		case 0:
			show("number of likes of the most liked post", routes.GetBacklinksCount, "subject", l.target, "source", source)
			show("those likes, newest first", routes.GetBacklinks, "subject", l.target, "source", source, "limit", "5")
			show("all kinds of links to it, with counts", routes.LinksAll, "target", l.target)
		case 1:
			show("followers of the most followed account", routes.GetBacklinkDIDs, "subject", l.target, "source", source,
				"limit", "5")
		case 2:
			show("replies to the post with the most replies, with their text", routes.WeftGetBacklinks, "subject", l.target,
				"source", source, "limit", "5", "hydrate", "true")
		case 3:
			show("posts that link to the most shared page", routes.Links, "target", l.target, "collection", l.source.Collection,
				"path", "."+l.source.Path, "limit", "5")
		case 4:
			show("accounts on the longest list", routes.GetManyToMany, "subject", l.target, "source", source, "pathToOther",
				"subject", "limit", "5")
		}
	}
	show("links to the most followed account and to its records, newest first", routes.GetAccountBacklinks,
		"did", popular[min(1, len(popular)-1)].target, "limit", "5")
	fmt.Fprintf(w, "  # the most followed account by its handle, in a browser\n  %s/search?q=%s\n\n", base,
		sim.FirstHandle)
	fmt.Fprintf(w, "  # live stream of new follows\n  curl -N '%s%s?wantedSources=app.bsky.graph.follow:subject'\n\n",
		base, routes.Events.Path)
	fmt.Fprintf(w, "  # version, statistics and routes\n  curl '%s/'\n\n", base)
	if d.metrics != nil {
		fmt.Fprintf(w, "  # metrics\n  curl '%s/metrics'\n\n", listenURL(d.metrics))
	}
	fmt.Fprintf(w, "Ctrl-C stops it. Current counts:\n\n")
}

// queryEscape escapes a query parameter but leaves at-uris readable.
func queryEscape(s string) string {
	return strings.NewReplacer("%3A", ":", "%2F", "/").Replace(url.QueryEscape(s))
}

// printCounts prints the growing counts, with the time since the demo began to answer.
func printCounts(ctx context.Context, w io.Writer, store *db.Store, popular []linkCount) error {
	var last db.Stats
	began := time.Now()
	for ticker := time.NewTicker(demoEvery); ; {
		st, err := store.Stats(ctx)
		if err != nil {
			return ignoreCancel(ctx, err)
		}
		perSecond := humanize.Figure(math.Round(float64(st.Links-last.Links) / demoEvery.Seconds()))
		line := fmt.Sprintf("after %10s  %9s links  %7s/s   %8s records  %7s accounts",
			humanize.Duration(max(time.Since(began).Round(time.Second), time.Second)),
			humanize.Number(st.Links), perSecond, humanize.Number(st.Records), humanize.Number(st.Actors))
		if len(popular) > 1 { // an account gains followers long after a post has stopped gaining likes
			followers, err := store.CountLinks(ctx, popular[1].target, popular[1].source)
			if err != nil {
				return ignoreCancel(ctx, err)
			}
			line += fmt.Sprintf("   %s follow the most followed account", humanize.Number(followers))
		}
		fmt.Fprintln(w, line)
		last = st
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ticker.Stop()
			return nil
		}
	}
}

// ignoreCancel returns nil for an error that the end of the context caused.
func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
