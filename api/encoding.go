package api

import (
	"bytes"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encodeFrom is the smallest answer that is compressed, in bytes. A smaller one fits in three packets, and compression
// costs more than it saves.
const encodeFrom = 4 << 10

var (
	zstdEncoder = newZstdEncoder()
	gzipWriters = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		return w
	}}
)

// newZstdEncoder returns an encoder that many goroutines may use. A page of a thousand records is 100 kB and takes
// about half a millisecond.
func newZstdEncoder() *zstd.Encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(128<<10),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	// The first call makes a channel. A channel that is made in a bubble of synctest can't be used outside of it.
	z.EncodeAll(nil, nil)
	return z
}

// encode compresses a body as the client accepts it. encoding is empty if the body is unchanged.
func encode(accept []string, body []byte) (out []byte, encoding string) {
	if len(body) < encodeFrom {
		return body, ""
	}
	switch encoding = accepted(accept); encoding {
	case "zstd":
		return zstdEncoder.EncodeAll(body, nil), encoding
	case "gzip":
		var buf bytes.Buffer
		w := gzipWriters.Get().(*gzip.Writer)
		w.Reset(&buf)
		_, _ = w.Write(body) // into memory, neither fails
		_ = w.Close()
		gzipWriters.Put(w)
		return buf.Bytes(), encoding
	}
	return body, ""
}

// accepted returns the encoding to use: zstd before gzip.
func accepted(fields []string) string {
	best := ""
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			name, parameters, _ := strings.Cut(part, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if q, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameters)), "q="); ok {
				if v, err := strconv.ParseFloat(q, 64); err != nil || v <= 0 {
					continue
				}
			}
			if name == "zstd" || name == "gzip" && best == "" {
				best = name
			}
		}
	}
	return best
}
