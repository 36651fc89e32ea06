package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

const (
	// The likes of the popular post, each by another account: as many as a post of a popular account has.
	popularLikes = 16_500
	// The threads, and the replies of each.
	threads = 1000
	replies = 20
)

// question is a request that is measured.
type question struct {
	name string
	path func(r *rand.Rand) string
}

// special returns the at-uri of a post that is none of the random ones.
func special(name string) string { return "at://" + did(0) + "/app.bsky.feed.post/" + name }

func xrpc(method, subject, rest string) string {
	return "/xrpc/" + method + "?source=app.bsky.feed.like:subject.uri&subject=" + url.QueryEscape(subject) + rest
}

func linkPath(path, target string) string {
	return path + "?collection=app.bsky.feed.like&path=.subject.uri&target=" + url.QueryEscape(target)
}

// questions are what apps ask most. None may cost more for a longer list.
func (b *bench) questions() []question {
	random := func(path func(subject string) string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return path(b.post(r.IntN(b.posts))) }
	}
	fixed := func(path string) func(*rand.Rand) string { return func(*rand.Rand) string { return path } }
	const constellation = "blue.microcosm.links." // all are of the API that Constellation has too
	qs := []question{
		{"floor: net/http alone", fixed(floorOf(xrpc(constellation+"getBacklinksCount", special("popular"), "")))},
		{"floor: of a list of 100",
			fixed(floorOf(xrpc(constellation+"getBacklinks", special("popular"), "&limit=100")))},
		{"count", random(func(s string) string { return xrpc(constellation+"getBacklinksCount", s, "") })},
		{"list of 100", random(func(s string) string { return xrpc(constellation+"getBacklinks", s, "&limit=100") })},
		{"DIDs, 100", random(func(s string) string { return xrpc(constellation+"getBacklinkDids", s, "&limit=100") })},
		{"DIDs, 100 of 16,500", fixed(xrpc(constellation+"getBacklinkDids", special("popular"), "&limit=100"))},
		{"distinct count", random(func(s string) string { return linkPath("/links/count/distinct-dids", s) })},
		{"/links/all", random(func(s string) string { return "/links/all?target=" + url.QueryEscape(s) })},
		{"m2m counts of 20", func(r *rand.Rand) string {
			return "/xrpc/" + constellation + "getManyToManyCounts?source=app.bsky.feed.post:reply.root.uri&" +
				"pathToOther=reply.parent.uri&subject=" + url.QueryEscape(special("root"+strconv.Itoa(r.IntN(threads))))
		}},
	}
	if b.List == 0 {
		return qs
	}
	list := special("list")
	return append(qs, question{"count of the long list", fixed(xrpc(constellation+"getBacklinksCount", list, ""))},
		question{"its first page of 100", fixed(xrpc(constellation+"getBacklinks", list, "&limit=100"))},
		question{"its DIDs, first 100", fixed(xrpc(constellation+"getBacklinkDids", list, "&limit=100"))},
		question{"its distinct count", fixed(linkPath("/links/count/distinct-dids", list))},
		question{"did= filter on it", func(r *rand.Rand) string {
			return xrpc(constellation+"getBacklinks", list, "&limit=100&did="+did(r.IntN(b.List))+"&did="+did(r.IntN(b.List)))
		}})
}

// fillQuestions stores what the questions ask for beside likes of random posts.
func (b *bench) fillQuestions(ctx context.Context) error {
	likes := b.feedSources()[0]
	for _, one := range []struct {
		name string
		n    int
	}{{"popular", popularLikes}, {"list", b.List}} {
		target := special(one.name)
		err := b.applyAll(ctx, one.n, func(i int, e *apply.Event) {
			e.DID, e.Collection = did(i), likes.Collection
			e.Links = []db.Link{{Path: likes.Path, Target: target}}
		})
		if err != nil {
			return err
		}
	}
	return b.applyAll(ctx, threads*replies, func(i int, e *apply.Event) {
		root := special("root" + strconv.Itoa(i/replies))
		e.DID, e.Collection = did(b.rand.IntN(b.posts)), "app.bsky.feed.post"
		e.Links = []db.Link{{Path: "reply.parent.uri", Target: root + strconv.Itoa(b.rand.IntN(replies))},
			{Path: "reply.root.uri", Target: root}}
	})
}

// applyAll commits n creates, which set fills.
func (b *bench) applyAll(ctx context.Context, n int, set func(i int, e *apply.Event)) error {
	for from := 0; from < n && ctx.Err() == nil; from += 1000 {
		events := make([]apply.Event, min(1000, n-from))
		now := time.Now().UnixMicro()
		for i := range events {
			b.seq++
			tid := string(link.AppendTID(nil, uint64(now+int64(i))<<10|b.seq%1024))
			events[i] = apply.Event{Seq: b.seq, TimeUS: now, Op: db.OpCreate, Rkey: tid, Rev: tid}
			set(from+i, &events[i])
		}
		err := b.apply(events)
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// server is one that is asked.
type server struct {
	name      string
	addr      string
	processor func(context.Context) (time.Duration, error) // its processor time so far; nil: unknown
}

// answers asks each question of a server in a process of its own and of the peer, over 8 and 32 connections.
func (b *bench) answers(ctx context.Context) (err error) {
	child, err := startChild(ctx, b.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	servers := []server{{"weft", child.addr, child.processor}}
	if b.Peer != "" {
		servers = append(servers, b.peer())
	}
	only, err := regexp.Compile(b.Only)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%-24s %-6s %12s %12s %10s %10s %12s\n", "question", "of", "8 at once", "32 at once", "p99 of 8",
		"of 32", "CPU each")
	for _, q := range b.questions() {
		if !only.MatchString(q.name) {
			continue
		}
		for _, s := range servers {
			if s.name != "weft" && strings.HasPrefix(q.name, "floor") {
				continue
			}
			err := b.measureQuestion(ctx, s, q)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", q.name, s.name, err)
			}
		}
	}
	return nil
}

// measureQuestion asks a question of a server and prints a row.
func (b *bench) measureQuestion(ctx context.Context, s server, q question) error {
	var rates, tails [2]string
	each := "-"
	for i, connections := range []int{8, 32} {
		before, err := s.usage(ctx)
		if err != nil {
			return err
		}
		begin := time.Now()
		times, err := b.ask(ctx, s.addr, connections, q)
		if err != nil {
			return err
		}
		took := time.Since(begin)
		after, err := s.usage(ctx)
		if err != nil {
			return err
		}
		rates[i] = fmt.Sprintf("%.0f/s", float64(len(times))/took.Seconds())
		tails[i] = quantile(times, .99).String()
		if s.processor != nil {
			each = ((after - before) / time.Duration(max(len(times), 1))).Round(100 * time.Nanosecond).String()
		}
	}
	fmt.Fprintf(b.out, "%-24s %-6s %12s %12s %10s %10s %12s\n", q.name, s.name, rates[0], rates[1], tails[0], tails[1],
		each)
	return nil
}

// usage returns the processor time so far; 0: unknown.
func (s server) usage(ctx context.Context) (time.Duration, error) {
	if s.processor == nil {
		return 0, nil
	}
	return s.processor(ctx)
}

// ask asks a question over kept connections, each as soon as it has the answer before, for a third of --for.
func (b *bench) ask(ctx context.Context, addr string, connections int, q question) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, b.For/3)
	defer cancel()
	var mu sync.Mutex
	var all []time.Duration
	var g errgroup.Group
	for i := range connections {
		g.Go(func() error {
			a, err := dial(addr)
			if err != nil {
				return err
			}
			defer a.conn.Close()
			r := rand.New(rand.NewPCG(5, uint64(i)))
			var times []time.Duration
			for ctx.Err() == nil {
				begin := time.Now()
				if err := a.get(q.path(r)); err != nil {
					return err
				}
				times = append(times, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			return nil
		})
	}
	return all, g.Wait()
}
