package config

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// OpenLTXFile implements litestream.ReplicaClient.
func (b *boundedClient) OpenLTXFile(
	ctx context.Context, level int, minTXID, maxTXID ltx.TXID, offset, size int64,
) (io.ReadCloser, error) {
	what := fmt.Sprintf("read level %d, %s", level, ltx.FormatFilename(minTXID, maxTXID))
	ctx, cancel := context.WithCancel(ctx) // until the body is closed
	body, err := call(ctx, b, b.request(DefaultStallTimeout, "%s", what),
		func(opening context.Context, client litestream.ReplicaClient) (io.ReadCloser, error) {
			defer context.AfterFunc(opening, cancel)()
			return client.OpenLTXFile(ctx, level, minTXID, maxTXID, offset, size)
		}, func(body io.ReadCloser) {
			if body != nil {
				_ = body.Close()
			}
		})
	if err != nil {
		cancel()
		return nil, err
	}
	reads := &boundedBody{b: b, ctx: ctx, cancel: cancel, body: body, what: what}
	return &bufferedBody{bufio.NewReaderSize(reads, bodyBuffer), reads}, nil
}

// bufferedBody is a body that is read in small pieces.
type bufferedBody struct {
	io.Reader
	io.Closer
}

// boundedBody bounds each read of a body.
type boundedBody struct {
	b      *boundedClient
	ctx    context.Context
	cancel context.CancelFunc
	body   io.ReadCloser
	what   string
	buffer []byte // not the reader's: an abandoned read still writes into it
	hangs  bool
}

func (r *boundedBody) Read(p []byte) (int, error) {
	if r.hangs {
		return 0, &StalledError{r.what, DefaultStallTimeout}
	}
	if len(r.buffer) < len(p) {
		r.buffer = make([]byte, len(p))
	}
	buffer := r.buffer[:len(p)]
	n, err := withStallTimeout(r.ctx, r.b.request(DefaultStallTimeout, "%s", r.what),
		func(ctx context.Context) (int, error) {
			// The body does not know the context of this read, so canceling the read cancels the body.
			defer context.AfterFunc(ctx, r.cancel)()
			return r.body.Read(buffer)
		}, func() {
			r.hangs = true
			r.b.abandoned.Add(1)
		}, func(int) {
			r.b.abandoned.Add(-1)
			_ = r.body.Close()
		})
	var stalled *StalledError
	if errors.As(err, &stalled) {
		r.b.mu.Lock()
		r.b.stale = true
		r.b.mu.Unlock()
	}
	return copy(p, buffer[:n]), err
}

// Close closes the body. If a read hangs, it closes the body when it returns.
func (r *boundedBody) Close() error {
	defer r.cancel()
	if r.hangs {
		return nil
	}
	return r.body.Close()
}

// movedReader counts the bytes that are read.
type movedReader struct {
	r     io.Reader
	moved *atomic.Int64
}

func (m *movedReader) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.moved.Add(int64(n))
	return n, err
}

type readSeekerAt interface {
	io.Reader
	io.ReaderAt
	io.Seeker
}

// movedFile notes the furthest offset that was read in a file: reading it again from its start is no progress.
type movedFile struct {
	f     readSeekerAt
	moved *atomic.Int64
	at    int64
}

func (m *movedFile) reached(end int64) {
	for {
		was := m.moved.Load()
		if end <= was || m.moved.CompareAndSwap(was, end) {
			return
		}
	}
}

func (m *movedFile) Read(b []byte) (int, error) {
	n, err := m.f.Read(b)
	m.at += int64(n)
	m.reached(m.at)
	return n, err
}

func (m *movedFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := m.f.ReadAt(b, at)
	m.reached(at + int64(n))
	return n, err
}

func (m *movedFile) Seek(offset int64, whence int) (int64, error) {
	at, err := m.f.Seek(offset, whence)
	if err == nil {
		m.at = at
	}
	return at, err
}
