package sim

import (
	"context"
	"strconv"
	"testing"
)

// BenchmarkBacklog builds an archive.
func BenchmarkBacklog(b *testing.B) {
	s, err := NewServer(ServerConfig{NetworkConfig: NetworkConfig{Accounts: 50_000}, Dir: b.TempDir(), Backlog: b.N})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.StopTimer()
	var size int64
	for _, seg := range s.log.segments() {
		size += seg.size
	}
	b.ReportMetric(float64(size)/float64(b.N), "B/event")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLive measures one subscriber that reads frames but doesn't decode them: each is encoded for it.
func BenchmarkLive(b *testing.B) {
	for name, path := range map[string]string{
		"v1": "/subscribe?cursor=1", "v1zstd": "/subscribe?cursor=1&compress=true",
		"v2": xrpc + "subscribeEvents?cursor=1", "v2zstd": xrpc + "subscribeEvents?cursor=1&zstdDictionary=" +
			strconv.Itoa(v2DictionaryID),
	} {
		b.Run(name, func(b *testing.B) {
			s := testServer(b, ServerConfig{EventsPerSegment: 1 << 30})
			s.Emit(b.N + 100)
			c := dial(b, s, path)
			b.ResetTimer()
			for range b.N * 99 / 100 { // v1 lacks a few
				if _, _, err := c.Read(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
