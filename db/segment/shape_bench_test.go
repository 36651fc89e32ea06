package segment

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// BenchmarkShape measures what the choices of Options come to: bytes per link of each run, in a file of its own, the
// speed of writing, and a look-up that finds nothing in the cache:
//
//	go test ./db/segment -run '^$' -bench Shape -benchtime 1x -timeout 1h
func BenchmarkShape(b *testing.B) {
	type shape struct {
		block, page int
		level       zstd.EncoderLevel
		tails       bool
	}
	var shapes []shape
	for _, block := range []int{4 << 10, 8 << 10, 16 << 10, 32 << 10} {
		for _, page := range []int{4 << 10, 8 << 10, 16 << 10} {
			shapes = append(shapes, shape{block, page, zstd.SpeedDefault, false})
		}
	}
	shapes = append(shapes,
		shape{8 << 10, 4 << 10, zstd.SpeedFastest, false},
		shape{8 << 10, 4 << 10, zstd.SpeedBetterCompression, false},
		shape{8 << 10, 4 << 10, zstd.SpeedBestCompression, false},
		shape{8 << 10, 4 << 10, zstd.SpeedDefault, true},
		shape{16 << 10, 4 << 10, zstd.SpeedDefault, true})
	for _, links := range []int{250_000, 1_000_000} {
		for _, sh := range shapes {
			name := fmt.Sprintf("links=%dk/block=%dk/page=%dk/%s", links/1000, sh.block>>10, sh.page>>10, sh.level)
			if sh.tails {
				name += "/tails"
			}
			b.Run(name, func(b *testing.B) {
				s := sampleOf(b, links, sh.tails)
				o := Options{blockSize: sh.block, pageSize: sh.page, level: sh.level}
				for b.Loop() {
					start := time.Now()
					for i, in := range s.inputs() {
						path := filepath.Join(b.TempDir(), "segment")
						info, err := Write(path, nil, []Input{in}, o)
						if err != nil {
							b.Fatal(err)
						}
						name := []string{"target", "record"}[i]
						b.ReportMetric(float64(info.Bytes)/float64(links), name+"-B/link")
						b.ReportMetric(coldFind(b, path, in), name+"-cold-µs")
						if err := os.Remove(path); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(links)/time.Since(start).Seconds(), "links/s")
				}
			})
		}
	}
}

// coldFind measures how long a look-up takes whose data block is not in the cache, in microseconds.
func coldFind(b *testing.B, path string, in Input) float64 {
	b.Helper()
	s, err := Open(path, map[int]Kind{in.ID: in.Kind}, NewCache(1<<20))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r, all := s.runs[in.ID], in.Entries.(*entries).all
	const n = 2000
	var took time.Duration
	for i := range n {
		e := all[i*7919%len(all)]
		start := time.Now()
		_, ok, err := r.Find(e.key)
		took += time.Since(start)
		if !ok || err != nil {
			b.Fatalf("%x: %t, %v", e.key, ok, err)
		}
	}
	return float64(took.Nanoseconds()) / n / 1000
}
