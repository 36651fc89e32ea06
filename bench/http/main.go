// Command http measures weft's API: counts a second, latencies under ingest, the live stream and the replay of the log.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/api"
	"weft.dev/weft/bench/common"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// options are the flags.
type options struct {
	Links       int
	List        int
	Dir         string
	Cache       int
	Connections int
	For         time.Duration
	Rate        int
	Subscribers int
	Replay      int
	Only        string
	Profile     string
	Lines       string
	Peer        string
	PeerProcess int
}

const description = `Fills a store with synthetic likes, serves it on loopback and asks, one part after the other:

  questions  what apps ask most, of a server in a process of its own: answers a second, the time of 99 % of them, and
             the processor time of the server an answer. The floors are what net/http and the kernel take alone: the
             same server sends an answer that it has made once
  counts     as many as it answers, of random targets, over kept connections
  under load counts and lists of 100 at a rate, and 300 counts in a call at a twentieth of it, while events are ingested
             at that rate
  account    pages of the links to an account, and their number by source
  live       subscribers with different filters, at that rate of events: from before the commit to the frame, the
             processor time of the whole process, and the memory of an idle one
  replay     of the log to one subscriber, over server-sent events and over a WebSocket

Server and clients share the cores, and but for the questions the process, so that a server alone does better. Run it
on a machine that does nothing else; the load is printed with the figures.

  go run ./bench/http
  go run ./bench/http --links 10000000

To compare it with another server of Constellation's API, let that one index the same events first: --lines writes them
as Jetstream v1 sends them, one JSON object a line, which Constellation reads with --fixture. Then ask both in one run,
one after the other for each question:

  go run ./bench/http --dir bench --lines events.jsonl --only floor
  constellation --jetstream HOST --backend rocks --data peer --fixture events.jsonl      ends when it has read them
  constellation --jetstream HOST --backend rocks --data peer                             serves them
  go run ./bench/http --dir bench --peer localhost:6789 --peer-process PID`

func main() {
	common.Main("http", func(ctx context.Context) error {
		if text := os.Getenv(serverVariable); text != "" {
			return serveChild(text)
		}
		return runCommand(ctx)
	})
}

func runCommand(ctx context.Context) error {
	var o options
	cmd := &cli.Command{
		Name: "http", Usage: "measure the API", Description: description, HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "links", Usage: "how many links to store", Value: 1_000_000, Destination: &o.Links},
			&cli.IntFlag{Name: "list", Usage: "the links of one long list beside them; 0: none", Value: 1_000_000,
				Destination: &o.List},
			&cli.StringFlag{Name: "dir", Usage: "a `DIRECTORY` to work in, which is kept: empty, or filled by a run with the " +
				"same numbers of links (default: a temporary one, which is not kept)", Destination: &o.Dir},
			&cli.IntFlag{Name: "cache", Usage: "the store's cache, in MiB", Value: db.DefaultCacheBytes >> 20,
				Destination: &o.Cache},
			&cli.IntFlag{Name: "connections", Usage: "of the clients that ask", Value: 32, Destination: &o.Connections},
			&cli.DurationFlag{Name: "for", Usage: "how long each part takes", Value: 10 * time.Second, Destination: &o.For},
			&cli.IntFlag{Name: "rate", Usage: "requests and events a second", Value: 1000, Destination: &o.Rate},
			&cli.IntFlag{Name: "subscribers", Usage: "of the live stream", Value: 1000, Destination: &o.Subscribers},
			&cli.IntFlag{Name: "replay", Usage: "events of the log to replay, at most", Value: 1_000_000,
				Destination: &o.Replay},
			&cli.StringFlag{Name: "only", Usage: "ask only the questions whose names match this `EXPRESSION`, and measure " +
				"nothing else",
				Destination: &o.Only},
			&cli.StringFlag{Name: "profile", Usage: "write a CPU profile of the server of the questions to a `FILE`",
				Destination: &o.Profile},
			&cli.StringFlag{Name: "lines", Usage: "write the stored events to a `FILE`, as lines of Jetstream v1",
				Destination: &o.Lines},
			&cli.StringFlag{Name: "peer", Usage: "`HOST:PORT` of another server of Constellation's API that has the same " +
				"events: ask it the same questions, and measure nothing else", Destination: &o.Peer},
			&cli.IntFlag{Name: "peer-process", Usage: "the id of its process, for its processor time; 0: not measured",
				Destination: &o.PeerProcess},
		},
		Action: func(ctx context.Context, _ *cli.Command) error { return measure(ctx, o, os.Stdout) },
	}
	return cmd.Run(ctx, os.Args)
}

// bench is a weft that is measured.
type bench struct {
	options
	out   io.Writer
	store *db.Store
	lines *lineWriter // nil: none are written
	addr  string
	seq   uint64
	posts int
	rand  *rand.Rand
}

func measure(ctx context.Context, o options, out io.Writer) (err error) {
	if o.Dir == "" {
		o.Dir, err = os.MkdirTemp("", "weft-http-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(o.Dir)
	}
	b := &bench{options: o, out: out, posts: max(o.Links/20, 100), rand: rand.New(rand.NewPCG(1, 1))}
	if err := b.open(); err != nil {
		return err
	}
	b.seq = b.store.Seq()
	if b.seq == 0 {
		err = b.fill(ctx)
	} else if o.Lines != "" {
		err = errors.New("--lines wants an empty --dir: the lines are written while the store is filled")
	}
	err = errors.Join(err, b.store.Close())
	if err != nil {
		return err
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(out, "%d cores, load %.14s\n", runtime.GOMAXPROCS(0), load)
	if err := b.answers(ctx); err != nil || b.Only != "" || b.Peer != "" {
		return err
	}
	if err := b.open(); err != nil {
		return err
	}
	defer func() { _ = b.store.Close() }()

	server := api.New(api.Config{Store: b.store, Logger: slog.New(slog.DiscardHandler),
		Streams: api.Streams{PerAddress: o.Subscribers + 10, Total: o.Subscribers + 10}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	streamCtx, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	streamed := make(chan struct{})
	go func() { defer close(streamed); _ = server.Run(streamCtx) }()
	b.addr = l.Addr().String()
	web := &http.Server{Handler: server}
	go func() { _ = web.Serve(l) }()
	defer func() {
		endStreams()
		<-streamed
		_ = web.Close()
	}()
	for _, part := range []func(context.Context) error{b.counts, b.underLoad, b.account, b.live, b.replayed} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) open() (err error) {
	b.store, err = db.Open(db.Config{Dir: b.Dir, CacheBytes: int64(b.Cache) << 20})
	return err
}

// fill stores likes of random posts, of which one in ten is of the posts of one account.
func (b *bench) fill(ctx context.Context) (err error) {
	if b.Lines != "" {
		b.lines, err = createLines(b.Lines)
		if err != nil {
			return err
		}
		defer func() {
			err = errors.Join(err, b.lines.close())
			b.lines = nil
		}()
	}
	begin := time.Now()
	for n := 0; n < b.Links && ctx.Err() == nil; n += 1000 {
		if err := b.commit(min(1000, b.Links-n), func(int) string { return b.post(b.rand.IntN(b.posts)) }); err != nil {
			return err
		}
	}
	if err := b.fillFeed(ctx); err != nil {
		return err
	}
	if err := b.fillQuestions(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	fmt.Fprintf(b.out, "%d links stored, %.0f a second\n", b.seq, float64(b.seq)/took.Seconds())
	return ctx.Err()
}

func did(n int) string { return fmt.Sprintf("did:plc:%024d", n) }

// post is one of the posts: every tenth is one of the first account's.
func (b *bench) post(n int) string {
	author := 1 + n%(b.posts/10)
	if n%10 == 0 {
		author = 0
	}
	return "at://" + did(author) + "/app.bsky.feed.post/" +
		string(link.AppendTID(nil, uint64(1_700_000_000_000_000+n*1_000_000)<<10))
}

// commit stores likes.
func (b *bench) commit(n int, target func(i int) string) error {
	return b.commitFrom(b.feedSources()[0], n, target)
}

// commitFrom stores records of a collection with one link each.
func (b *bench) commitFrom(source db.Source, n int, target func(i int) string) error {
	events := make([]apply.Event, n)
	now := time.Now().UnixMicro()
	for i := range events {
		b.seq++
		tid := string(link.AppendTID(nil, uint64(now+int64(i))<<10|b.seq%1024))
		events[i] = apply.Event{Seq: b.seq, TimeUS: now, Op: db.OpCreate, DID: did(b.rand.IntN(b.posts)),
			Collection: source.Collection, Rkey: tid, Rev: tid,
			Links: []db.Link{{Path: source.Path, Target: target(i)}}}
	}
	return b.apply(events)
}

// apply commits events, and writes their lines.
func (b *bench) apply(events []apply.Event) error {
	_, err := b.store.Apply(db.Batch{Host: "bench", Events: events})
	if err != nil || b.lines == nil {
		return err
	}
	return b.lines.write(events)
}

// feedSources are the kinds of links that an app counts under a post.
func (b *bench) feedSources() []db.Source {
	return []db.Source{
		{Collection: "app.bsky.feed.like", Path: "subject.uri"},
		{Collection: "app.bsky.feed.repost", Path: "subject.uri"},
		{Collection: "app.bsky.feed.post", Path: "reply.parent.uri"},
	}
}

// fillFeed stores a repost of every second post and a reply to every third.
func (b *bench) fillFeed(ctx context.Context) error {
	for i, source := range b.feedSources()[1:] {
		for n := 0; n < b.posts && ctx.Err() == nil; n += 1000 * (i + 2) {
			post := func(i int) string { return b.post(min(n+i, b.posts-1)) }
			if err := b.commitFrom(source, min(1000, b.posts-n), func(k int) string { return post(k * (i + 2)) }); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// ingest commits events at the rate, ten times a second, until ctx ends.
func (b *bench) ingest(ctx context.Context, target func(i int) string) error {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-tick.C:
			if err := b.commit(b.Rate/10, target); err != nil {
				return err
			}
		case <-ctx.Done():
			tick.Stop()
			return nil
		}
	}
}

// quantiles prints times.
func quantiles(times []time.Duration) string {
	if len(times) == 0 {
		return "none"
	}
	return fmt.Sprintf("p50 %s, p99 %s, p99.9 %s", quantile(times, .5), quantile(times, .99), quantile(times, .999))
}

// quantile returns one of times, which it sorts; 0 of none.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(int(q*float64(len(times))), len(times)-1)].Round(10 * time.Microsecond)
}

// processor is the processor time that the process has taken.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
