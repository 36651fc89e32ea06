package ingest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/bluesky-social/jetstream/segment"
	"github.com/coder/websocket"

	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/upstream"
)

// BenchmarkEvent measures one event, from its bytes to the links in a batch, for each protocol and the archive.
func BenchmarkEvent(b *testing.B) {
	server, err := sim.NewServer(sim.ServerConfig{Backlog: 4096, EventsPerSegment: 4096,
		NetworkConfig: sim.NetworkConfig{Accounts: 2000}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() { cancel(); <-done }()
	x, batch := extract.New(extract.Limits{}), new(batch)
	run := func(b *testing.B, n int, read func(int, *upstream.Event) error) {
		b.ReportAllocs()
		links := 0
		for i := range b.N {
			if i%n == 0 {
				links += len(batch.links)
				batch.reset()
			}
			var e upstream.Event
			if err := read(i%n, &e); err != nil {
				b.Fatal(err)
			}
			if err := batch.add(&e, x, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(links+len(batch.links))/float64(b.N), "links/op")
	}
	for _, kind := range []string{upstream.KindV1, upstream.KindV2} {
		b.Run(kind, func(b *testing.B) {
			ctx, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			path := "/subscribe"
			if kind == upstream.KindV2 {
				path = "/xrpc/network.bsky.jetstream.subscribeEvents"
			}
			conn, _, err := websocket.Dial(ctx, server.URL()+path+"?cursor=1",
				&websocket.DialOptions{Subprotocols: []string{"xrpc.v1.json"}})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = conn.CloseNow() }()
			conn.SetReadLimit(-1)
			var texts [][]byte
			for len(texts) < 3000 { // v1 lacks some of them
				_, data, err := conn.Read(ctx)
				if err != nil {
					b.Fatal(err)
				}
				texts = append(texts, data)
			}
			b.ResetTimer()
			run(b, len(texts), func(i int, e *upstream.Event) error {
				return e.ReadFrame(kind, texts[i])
			})
		})
	}
	b.Run("archive", func(b *testing.B) {
		var rows []segment.Event
		a := &upstream.Archive{Endpoint: upstream.Endpoint{URL: server.URL()}}
		if _, err := a.Blocks(context.Background(), 0, 0, func(b *upstream.Block) error {
			return b.Rows(func(r *segment.Event) error {
				r.Payload = bytes.Clone(r.Payload)
				rows = append(rows, *r)
				return nil
			})
		}); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		run(b, len(rows), func(i int, e *upstream.Event) error { return e.ReadRow(&rows[i]) })
	})
}
