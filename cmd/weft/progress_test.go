package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

func TestProgressBar(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]wire.Replay{
		"[###############...............]  50.0%  1.0 GB  120,000/s  ETA 100 s": {Events: 24_000_000,
			EventsDone: 12_000_000, BytesDone: 1_000_000_000, Rate: 120_000, ETA: 100},
		"[..............................]   0.0%  0 B  0/s  ETA ?": {EventsDone: 1},
		"[###############...............]  50.0%  999.9 GB  0/s  no answer: 3 min 20 s": {Events: 24_000_000_000,
			EventsDone: 12_000_000_000, BytesDone: 999_900_000_000, Waiting: 200},
		"waiting for the first segment of https://archive.example: 12.0 kB came": {
			Host: "https://archive.example", Events: 24_000_000, BytesDone: 12_000},
	} {
		if got := progressBar(&p); got != want || len(got) > 80 {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestBackfillProgress: a backfill that waits for its archive names the archive, on a terminal and in the log output.
// Then both show the progress, and stop after the backfill.
func TestBackfillProgress(t *testing.T) {
	t.Parallel()
	replays := []wire.Replay{
		{},
		{Host: "https://archive.example", Events: 2000, Bytes: 80_000, BytesDone: 12_000},
		{Host: "https://archive.example", Events: 2000, EventsDone: 500, Bytes: 80_000, BytesDone: 20_000, Rate: 50, ETA: 30},
		{Host: "https://archive.example", Events: 2000, EventsDone: 500, Bytes: 80_000, BytesDone: 20_000, Waiting: 20},
		{}, {},
	}
	for _, c := range []struct {
		name     string
		terminal bool
		every    time.Duration
		out      string
		log      []string
	}{
		{"a terminal", true, barEvery, "\r\x1b[Kwaiting for the first segment of https://archive.example: 12.0 kB came" +
			"\r\x1b[K[#######.......................]  25.0%  20.0 kB  50/s  ETA 30 s" +
			"\r\x1b[K[#######.......................]  25.0%  20.0 kB  0/s  no answer: 20 s\n", nil},
		{"a log", false, lineEvery, "", []string{
			`"replaying: waiting for the first segment of the archive" host=https://archive.example bytes=12000`,
			`msg=replaying done=25.0% events=500 of_events=2000 bytes=20000 of_bytes=80000 events_per_second=50 eta="30 s"`,
			`"replaying: waiting for the archive" host=https://archive.example events=500 of_events=2000 bytes=20000 silent_for="20 s"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var out, log bytes.Buffer
				next := 0
				ctx, stop := context.WithCancel(t.Context())
				p := &backfillProgress{w: &out, terminal: c.terminal, logger: slog.New(slog.NewTextHandler(&log, nil)),
					backfill: func() wire.Replay {
						mu.Lock()
						defer mu.Unlock()
						next++
						return replays[min(next, len(replays))-1]
					}}
				ended := make(chan struct{})
				go func() { defer close(ended); p.run(ctx) }()
				time.Sleep(10 * c.every)
				stop()
				<-ended
				if next < len(replays) || out.String() != c.out {
					t.Errorf("after %d looks, it shows %q, not %q", next, out.String(), c.out)
				}
				lines := strings.Split(strings.TrimSpace(log.String()), "\n")
				if c.log == nil && log.Len() > 0 || c.log != nil && len(lines) != len(c.log) {
					t.Fatalf("the log is %q", log.String())
				}
				for i, want := range c.log {
					if !strings.Contains(lines[i], want) {
						t.Errorf("line %d is %q, and lacks %q", i, lines[i], want)
					}
				}
			})
		})
	}
}

// TestWaitsAreNamed: a start that waits for another server names it to queries, and a start that waits for a replica
// also in the log output.
func TestWaitsAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		indexer func(t *testing.T, address string) indexer // needs the server at the address
		status  string
		log     string
	}{
		{"an upstream", func(t *testing.T, address string) indexer {
			return &writer{writerConfig: writerConfig{jetstream: []upstream.Endpoint{{URL: "http://" + address}},
				from: ingest.From{Start: true},
				db:   db.Config{Dir: t.TempDir()}}}
		}, "waiting for an upstream to list its archive", "opening the data directory"},
		{"a replica", func(t *testing.T, address string) indexer {
			dir := t.TempDir()
			c := silentReplica(t, address, dir)
			return &writer{writerConfig: writerConfig{jetstream: []upstream.Endpoint{{URL: "http://" + address}}, replica: &c,
				db: db.Config{Dir: dir}}}
		}, "waiting for the replica's answer and its lease", "waiting for its answer and its lease"},
		{"a primary's replica", func(t *testing.T, address string) indexer {
			return &follower{config: replica.FollowerConfig{Replica: silentReplica(t, address, "/data"), Dir: t.TempDir()}}
		}, "waiting for the replica, to restore its newest state", "following a replica"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			silent, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, nil))
			s := c.indexer(t, silent.Addr().String())
			d, err := newDaemon(daemonConfig{listen: "127.0.0.1:0", logger: logger}, s)
			if err != nil {
				t.Fatal(err)
			}
			d.opening = startOpening(d.queries, "v1", slog.New(slog.DiscardHandler))
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				err := s.open(ctx, d)
				_ = silent.Close() // ends Accept
				ended <- err
			}()
			conn, err := silent.Accept() // accepts the request and never answers
			if err != nil {
				t.Fatalf("it asked nothing: %v; %v", err, <-ended)
			}
			defer conn.Close()
			if got := *d.opening.status.Load(); got != c.status {
				t.Errorf("meanwhile, queries get %q, not %q", got, c.status)
			}
			stop()
			if err := <-ended; err == nil {
				t.Error("it opened")
			}
			if err := s.close(); err != nil {
				t.Error(err)
			}
			d.opening.stop()
			if err := d.close(); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("the log lacks %q: %s", c.log, log.String())
			}
		})
	}
}

// silentReplica returns the configuration of a replica, on a host, of the index in a directory.
func silentReplica(t *testing.T, address, dir string) config.Config {
	t.Helper()
	text := fmt.Sprintf("dbs: [{path: %s/weft.db, replica: {type: sftp, host: '%s', user: u, password: p, path: /copy}}]",
		dir, address)
	c, err := config.Parse("litestream.yml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return c
}
