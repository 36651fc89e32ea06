package replica

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

const (
	// stallTimeout is how long a request may show no progress: a connection, the next entry of a listing, the next bytes of a
	// file, a batch of deletions. Nothing else notices a peer that is alive and sends nothing.
	stallTimeout = 30 * time.Second
	// uploadStall is the same for an upload, of which the last bytes may be on their way for long: a part of 64 MB at a third of a
	// megabyte a second.
	uploadStall = 3 * time.Minute
	// stallTicks is how often in such a time the progress is looked at: a request is given up at most a sixth later.
	stallTicks = 6
	// abandonAfter is how long a request that was given up has to return. SFTP knows no cancellation, and neither does a
	// network file system: their requests are left behind.
	abandonAfter = time.Second
	// maxAbandoned bounds the requests that were left behind: a client with as many begins no other until one returns.
	maxAbandoned = 16
	// deleteBatch is how many files one deletion names: SFTP deletes them one after the other.
	deleteBatch = 100
)

// StalledError says that a request to the replica was given up, as nothing moved for a time.
type StalledError struct {
	What  string
	After time.Duration
}

func (e *StalledError) Error() string {
	return fmt.Sprintf("%s: no data for %s, request canceled", e.What, e.After)
}

// errHanging says that too many requests were given up and haven't returned.
var errHanging = fmt.Errorf("%d canceled requests still hang: the store is reachable but does not answer", maxAbandoned)

// boundedClient gives up each request that makes no progress. The next one gets a client of its own, as the connection of
// the one before may hang.
type boundedClient struct {
	mu        sync.Mutex
	client    litestream.ReplicaClient
	renew     func() (litestream.ReplicaClient, error)
	stale     bool // a request of the client was given up
	abandoned atomic.Int64
	patience  time.Duration // with each request; 0: as the constants have it
}

// bound bounds the requests of a client; renew makes another one of the same place.
func bound(client litestream.ReplicaClient, renew func() (litestream.ReplicaClient, error)) *boundedClient {
	return &boundedClient{client: client, renew: renew}
}

// present is the client for the next request.
func (b *boundedClient) present() (litestream.ReplicaClient, error) {
	if b.abandoned.Load() >= maxAbandoned {
		return nil, errHanging
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stale {
		return b.client, nil
	}
	client, err := b.renew()
	if err != nil {
		return nil, err
	}
	b.client, b.stale = client, false
	return client, nil
}

func (b *boundedClient) discard(client litestream.ReplicaClient) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == client {
		b.stale = true
	}
}

// request begins a request.
func (b *boundedClient) request(limit time.Duration, format string, args ...any) *request {
	return &request{what: fmt.Sprintf(format, args...), limit: cmp.Or(b.patience, limit)}
}

// request is one request under way.
type request struct {
	what  string
	limit time.Duration
	moved atomic.Int64 // grows with progress
}

// watch runs do until it returns, ctx ends or nothing has moved for the request's limit. In the two latter cases do has
// abandonAfter to return. When it hasn't, it is left behind: abandon is called, and late once it does return.
func watch[T any](ctx context.Context, r *request, do func(context.Context) (T, error), abandon func(), late func(T)) (v T, err error) {
	type result struct {
		v   T
		err error
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	left, done := false, make(chan result, 1)
	go func() {
		v, err := do(ctx)
		mu.Lock()
		defer mu.Unlock()
		if left {
			late(v)
			return
		}
		done <- result{v, err}
	}()
	ticker := time.NewTicker(r.limit / stallTicks)
	defer ticker.Stop()
	seen, since := r.moved.Load(), time.Now()
	for ctx.Err() == nil {
		select {
		case got := <-done:
			return got.v, got.err
		case <-ctx.Done():
		case <-ticker.C:
			if now := r.moved.Load(); now != seen {
				seen, since = now, time.Now()
			} else if time.Since(since) >= r.limit {
				cancel(&StalledError{r.what, r.limit})
			}
		}
	}
	grace := time.NewTimer(abandonAfter)
	defer grace.Stop()
	select {
	case got := <-done:
		done <- got
	case <-grace.C:
	}
	mu.Lock()
	defer mu.Unlock()
	select {
	case got := <-done:
		if got.err != nil {
			got.err = context.Cause(ctx)
		}
		return got.v, got.err
	default:
	}
	left = true
	abandon()
	return v, context.Cause(ctx)
}

// ask makes one request of a bounded client.
func ask[T any](ctx context.Context, b *boundedClient, r *request, do func(context.Context, litestream.ReplicaClient) (T, error), late func(T)) (v T, err error) {
	client, err := b.present()
	if err != nil {
		return v, err
	}
	v, err = watch(ctx, r, func(ctx context.Context) (T, error) { return do(ctx, client) },
		func() { b.abandoned.Add(1) },
		func(v T) {
			b.abandoned.Add(-1)
			late(v)
		})
	var stalled *StalledError
	if errors.As(err, &stalled) {
		b.discard(client)
	}
	return v, err
}

// nothing is for requests that answer nothing.
type nothing struct{}

func (b *boundedClient) do(ctx context.Context, r *request, do func(context.Context, litestream.ReplicaClient) error) error {
	_, err := ask(ctx, b, r, func(ctx context.Context, client litestream.ReplicaClient) (nothing, error) {
		return nothing{}, do(ctx, client)
	}, func(nothing) {})
	return err
}

// Type implements litestream.ReplicaClient.
func (b *boundedClient) Type() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.client.Type()
}

// SetLogger implements litestream.ReplicaClient, and does nothing: what fails is an error.
func (b *boundedClient) SetLogger(*slog.Logger) {}

// Init implements litestream.ReplicaClient.
func (b *boundedClient) Init(ctx context.Context) error {
	return b.do(ctx, b.request(stallTimeout, "connect"), func(ctx context.Context, client litestream.ReplicaClient) error { return client.Init(ctx) })
}

// LTXFiles implements litestream.ReplicaClient. It has read the whole listing when it returns.
func (b *boundedClient) LTXFiles(ctx context.Context, level int, seek ltx.TXID, useMetadata bool) (ltx.FileIterator, error) {
	r := b.request(stallTimeout, "list level %d", level)
	infos, err := ask(ctx, b, r, func(ctx context.Context, client litestream.ReplicaClient) (infos []*ltx.FileInfo, err error) {
		it, err := client.LTXFiles(ctx, level, seek, useMetadata)
		if err != nil {
			return nil, err
		}
		for it.Next() {
			r.moved.Add(1)
			infos = append(infos, it.Item())
		}
		err, closed := it.Err(), it.Close()
		if err == nil {
			err = closed // else it is the same once more
		}
		return infos, err
	}, func([]*ltx.FileInfo) {})
	if err != nil {
		return nil, err
	}
	return ltx.NewFileInfoSliceIterator(infos), nil
}

// OpenLTXFile implements litestream.ReplicaClient.
func (b *boundedClient) OpenLTXFile(ctx context.Context, level int, minTXID, maxTXID ltx.TXID, offset, size int64) (io.ReadCloser, error) {
	what := fmt.Sprintf("read level %d, %s", level, ltx.FormatFilename(minTXID, maxTXID))
	ctx, cancel := context.WithCancel(ctx) // until the body is closed
	body, err := ask(ctx, b, b.request(stallTimeout, "%s", what), func(opening context.Context, client litestream.ReplicaClient) (io.ReadCloser, error) {
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

// bodyBuffer is how much a read asks for at least, in bytes: Litestream reads a page at a time, and each bounded read costs a
// goroutine.
const bodyBuffer = 64 << 10

// bufferedBody is a body that is read in small pieces.
type bufferedBody struct {
	io.Reader
	io.Closer
}

// boundedBody is a body, each of whose reads is bounded.
type boundedBody struct {
	b      *boundedClient
	ctx    context.Context
	cancel context.CancelFunc
	body   io.ReadCloser
	what   string
	buffer []byte // the reader's own, as a read that was left behind still writes into it
	hangs  bool
}

func (r *boundedBody) Read(p []byte) (int, error) {
	if r.hangs {
		return 0, &StalledError{r.what, stallTimeout}
	}
	if len(r.buffer) < len(p) {
		r.buffer = make([]byte, len(p))
	}
	buffer := r.buffer[:len(p)]
	n, err := watch(r.ctx, r.b.request(stallTimeout, "%s", r.what), func(ctx context.Context) (int, error) {
		// The body knows nothing of this read's context: to give the read up is to give the body up.
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

// Close closes the body, unless a read of it hangs, which closes it when it returns.
func (r *boundedBody) Close() error {
	defer r.cancel()
	if r.hangs {
		return nil
	}
	return r.body.Close()
}

// WriteLTXFile implements litestream.ReplicaClient.
func (b *boundedClient) WriteLTXFile(ctx context.Context, level int, minTXID, maxTXID ltx.TXID, rd io.Reader) (*ltx.FileInfo, error) {
	r := b.request(uploadStall, "write level %d, %s", level, ltx.FormatFilename(minTXID, maxTXID))
	from := io.Reader(&movedReader{rd, &r.moved})
	if f, ok := rd.(readSeekerAt); ok {
		from = &movedFile{f: f, moved: &r.moved}
	}
	return ask(ctx, b, r, func(ctx context.Context, client litestream.ReplicaClient) (*ltx.FileInfo, error) {
		return client.WriteLTXFile(ctx, level, minTXID, maxTXID, from)
	}, func(*ltx.FileInfo) {})
}

// DeleteLTXFiles implements litestream.ReplicaClient.
func (b *boundedClient) DeleteLTXFiles(ctx context.Context, files []*ltx.FileInfo) error {
	for some := range slices.Chunk(files, deleteBatch) {
		if err := b.do(ctx, b.request(stallTimeout, "delete %d files", len(some)),
			func(ctx context.Context, client litestream.ReplicaClient) error {
				return client.DeleteLTXFiles(ctx, some)
			}); err != nil {
			return err
		}
	}
	return nil
}

// DeleteAll implements litestream.ReplicaClient.
func (b *boundedClient) DeleteAll(ctx context.Context) error {
	return b.do(ctx, b.request(uploadStall, "delete all"), func(ctx context.Context, client litestream.ReplicaClient) error { return client.DeleteAll(ctx) })
}

// movedReader counts what is read of it.
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

// movedFile notes how far a file was read: to read it again from its start is no progress.
type movedFile struct {
	f     readSeekerAt
	moved *atomic.Int64
	at    int64
}

func (m *movedFile) reached(end int64) {
	for was := m.moved.Load(); end > was && !m.moved.CompareAndSwap(was, end); was = m.moved.Load() {
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
