// Command upstream serves a synthetic network on loopback whose times begin in January 2026, for the pages of an index
// that is behind. It prints its URL, and ends when its standard input ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"weft.dev/weft/ingest/sim"
)

// eventsPerSegment makes an archive of many small segments, so that a paced replay takes long.
const eventsPerSegment = 500

func main() {
	events := flag.Int("events", 0, "how many events the archive has")
	rate := flag.Float64("rate", 0, "how many events a second come")
	pace := flag.Duration("pace", 0,
		"how long each request for a segment of the archive takes; they are answered one by one")
	flag.Parse()
	err := run(*events, *rate, *pace, os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

func run(events int, rate float64, pace time.Duration, stdin io.Reader, stdout io.Writer) error {
	network, err := sim.NewServer(sim.ServerConfig{Backlog: events, EventsPerSegment: eventsPerSegment, Rate: rate})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- network.Run(ctx) }()
	at, err := url.Parse(network.URL())
	if err != nil {
		cancel()
		return errors.Join(err, <-ran)
	}
	var turns sync.Mutex
	proxy := httputil.NewSingleHostReverseProxy(at)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".getSegment") {
			turns.Lock()
			time.Sleep(pace)
			turns.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	fmt.Fprintln(stdout, server.URL)
	_, err = io.Copy(io.Discard, stdin)
	server.CloseClientConnections()
	cancel()
	return errors.Join(err, <-ran)
}
