package ingest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/bluesky-social/jetstream/segment"

	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/sim"
)

// BenchmarkEvent is what one event costs from the wire's bytes to a batch's links, for each wire.
func BenchmarkEvent(b *testing.B) {
	server, err := sim.NewServer(sim.ServerConfig{Backlog: 4096, EventsPerSegment: 4096, NetworkConfig: sim.NetworkConfig{Accounts: 2000}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() { cancel(); <-done }()
	x, batch := extract.New(extract.Limits{}), new(batch)
	run := func(b *testing.B, n int, read func(int, *event) error) {
		b.ReportAllocs()
		links := 0
		for i := range b.N {
			if i%n == 0 {
				links += len(batch.links)
				batch.reset()
			}
			var e event
			if err := read(i%n, &e); err != nil {
				b.Fatal(err)
			}
			if err := batch.add(&e, x, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(links+len(batch.links))/float64(b.N), "links/op")
	}
	for _, kind := range []string{kindV1, kindV2} {
		b.Run(kind, func(b *testing.B) {
			ctx, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			l, err := dialLive(ctx, endpoint{url: server.URL()}, kind, nil, 1, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer l.close()
			var texts [][]byte
			for len(texts) < 3000 { // v1 doesn't carry all
				_, data, err := l.conn.Read(ctx)
				if err != nil {
					b.Fatal(err)
				}
				if l.zstd != nil {
					if data, err = l.zstd.DecodeAll(data, nil); err != nil {
						b.Fatal(err)
					}
				}
				texts = append(texts, data)
			}
			b.ResetTimer()
			run(b, len(texts), func(i int, e *event) error {
				if kind == kindV1 {
					return e.readV1(texts[i])
				}
				return e.readV2(texts[i])
			})
		})
	}
	b.Run("archive", func(b *testing.B) {
		var rows []segment.Event
		a := &archive{host: server.URL()}
		if _, err := a.read(context.Background(), 0, 0, nil, func(b *block) error {
			return b.rows(func(r *segment.Event) error {
				r.Payload = bytes.Clone(r.Payload)
				rows = append(rows, *r)
				return nil
			})
		}); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		run(b, len(rows), func(i int, e *event) error { return e.readRow(&rows[i]) })
	})
}
