package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// asker is a kept connection that asks and reads, with as little of its own as there can be.
type asker struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func dial(addr string) (*asker, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &asker{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// get asks for a path and passes over the answer, which must be a 200.
func (a *asker) get(path string) error {
	const rest = " HTTP/1.1\r\nHost: weft\r\nAccept: application/json\r\n\r\n"
	a.out = append(append(append(a.out[:0], "GET "...), path...), rest...)
	if _, err := a.conn.Write(a.out); err != nil {
		return err
	}
	res, err := http.ReadResponse(a.in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

func (b *bench) countPath(n int) string {
	return "/xrpc/blue.microcosm.links.getBacklinksCount?source=app.bsky.feed.like:subject.uri&subject=" + b.post(n)
}

func (b *bench) listPath(n int) string {
	return "/xrpc/blue.microcosm.links.getBacklinks?source=app.bsky.feed.like:subject.uri&limit=100&subject=" + b.post(n)
}

func (b *bench) counts(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.For)
	defer cancel()
	var answered atomic.Int64
	var g errgroup.Group
	begin := time.Now()
	for i := range b.Connections {
		g.Go(func() error {
			a, err := dial(b.addr)
			if err != nil {
				return err
			}
			defer a.conn.Close()
			r := rand.New(rand.NewPCG(2, uint64(i)))
			for ctx.Err() == nil {
				if err := a.get(b.countPath(r.IntN(b.posts))); err != nil {
					return err
				}
				answered.Add(1)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "counts: %.0f a second, of random targets, over %d connections\n",
		float64(answered.Load())/time.Since(begin).Seconds(), b.Connections)
	return nil
}

// feedPath asks for three counts of each of 100 posts: what an app shows under a page of posts.
func (b *bench) feedPath(n int) string {
	r := rand.New(rand.NewPCG(4, uint64(n)))
	var q strings.Builder
	for range 100 {
		q.WriteString("&subject=" + b.post(r.IntN(b.posts)))
	}
	for _, source := range b.feedSources() {
		q.WriteString("&source=" + source.Collection + ":" + source.Path)
	}
	return "/xrpc/dev.weft.links.getCounts?" + q.String()[1:]
}

func (b *bench) underLoad(ctx context.Context) error {
	for _, what := range []struct {
		name string
		rate int
		path func(int) string
	}{
		{"counts", b.Rate, b.countPath}, {"lists of 100", b.Rate, b.listPath},
		{"300 counts in a call", max(1, b.Rate/feedShare), b.feedPath},
	} {
		times, err := b.paced(ctx, what.rate, what.path)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "%s at %d a second, with %d events a second: %s\n", what.name, what.rate, b.Rate, quantiles(times))
	}
	return nil
}

// feedShare is the number of plain queries that take about as long as 300 counts.
const feedShare = 20

// paced asks at the rate while events flow in. A time begins when the question is due, so that a server that stalls is
// seen to.
func (b *bench) paced(ctx context.Context, rate int, path func(int) string) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, b.For)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.ingest(gctx, func(int) string { return b.post(b.rand.IntN(b.posts)) }) })
	due := make(chan time.Time, rate*10)
	g.Go(func() error {
		defer close(due)
		for at, gap := time.Now(), time.Second/time.Duration(rate); gctx.Err() == nil; at = at.Add(gap) {
			time.Sleep(time.Until(at))
			due <- at
		}
		return nil
	})
	var mu sync.Mutex
	var times []time.Duration
	for i := range b.Connections {
		g.Go(func() error {
			a, err := dial(b.addr)
			if err != nil {
				return err
			}
			defer a.conn.Close()
			r := rand.New(rand.NewPCG(3, uint64(i)))
			for at := range due {
				if err := a.get(path(r.IntN(b.posts))); err != nil {
					return err
				}
				mu.Lock()
				times = append(times, time.Since(at))
				mu.Unlock()
			}
			return nil
		})
	}
	return times, g.Wait()
}

// account asks for the links to the account that a tenth of all links go to, page after page.
func (b *bench) account(context.Context) error {
	a, err := dial(b.addr)
	if err != nil {
		return err
	}
	defer a.conn.Close()
	var pages, counts []time.Duration
	for range 5 {
		begin := time.Now()
		if err := a.get("/xrpc/dev.weft.links.getAccountBacklinks?limit=100&did=" + url.QueryEscape(did(0))); err != nil {
			return err
		}
		pages = append(pages, time.Since(begin))
		begin = time.Now()
		if err := a.get("/xrpc/dev.weft.links.getAccountCounts?did=" + url.QueryEscape(did(0))); err != nil {
			return err
		}
		counts = append(counts, time.Since(begin))
	}
	fmt.Fprintf(b.out, "an account with %d posts and %d links: a page of 100 %s; the number by source %s\n", b.posts/10,
		b.Links/10, quantiles(pages), quantiles(counts))
	return nil
}
