package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/benbjohnson/litestream/s3"
	"github.com/benbjohnson/litestream/sftp"
	"github.com/superfly/ltx"
)

const (
	// DefaultStallTimeout is the longest time without progress in a request: a connection, the next entry of a listing,
	// the next bytes of a file, a batch of deletions. No other timeout ends a request to a peer that is alive and sends
	// nothing.
	DefaultStallTimeout = 30 * time.Second
	// uploadStall is DefaultStallTimeout for an upload. The last bytes of an upload may take long: a part of 64 MB at a
	// third of a megabyte a second.
	uploadStall = 3 * time.Minute
	// stallTicks is the number of checks of the progress in that time: a request is canceled at most a sixth later.
	stallTicks = 6
	// abandonAfter is the time within which a canceled request has to return. SFTP and network file systems have no
	// cancellation: their requests are abandoned.
	abandonAfter = time.Second
	// maxAbandoned bounds the abandoned requests: a client with as many begins no other until one returns.
	maxAbandoned = 16
	// deleteBatch is the number of files in one deletion: SFTP deletes them one after the other.
	deleteBatch = 100
	// bodyBuffer is the least size of a read, in bytes. Litestream reads one page at a time, and each bounded read
	// costs a goroutine.
	bodyBuffer = 64 << 10
)

// StalledError reports that a request to the replica was canceled because it made no progress.
type StalledError struct {
	What  string
	After time.Duration
}

func (e *StalledError) Error() string {
	return fmt.Sprintf("%s: no data for %s, request canceled", e.What, e.After)
}

// errHanging reports that too many canceled requests have not returned.
var errHanging = fmt.Errorf("%d canceled requests still hang: the store is reachable but does not answer", maxAbandoned)

// boundedClient cancels each request that makes no progress. The next request gets a new client, because the connection
// of the canceled request may hang.
type boundedClient struct {
	connect      func(sub string) (litestream.ReplicaClient, error)
	abandoned    atomic.Int64
	stallTimeout time.Duration // of each request; 0: the constants

	mu     sync.Mutex
	sub    string
	client litestream.ReplicaClient
	stale  bool // a request of the client was canceled
}

// newBounded bounds the requests of a client of the database at sub; connect makes another one.
func newBounded(
	client litestream.ReplicaClient, sub string, connect func(string) (litestream.ReplicaClient, error),
) *boundedClient {
	return &boundedClient{connect: connect, sub: sub, client: client}
}

// BoundClient bounds the requests of a client like Config.Client.
func BoundClient(
	client litestream.ReplicaClient, connect func(sub string) (litestream.ReplicaClient, error),
) litestream.ReplicaClient {
	return newBounded(client, "", connect)
}

// current returns the client for the next request.
func (b *boundedClient) current() (litestream.ReplicaClient, error) {
	if b.abandoned.Load() >= maxAbandoned {
		return nil, errHanging
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stale {
		return b.client, nil
	}
	client, err := b.connect(b.sub)
	if err != nil {
		return nil, err
	}
	b.client = client
	b.stale = false
	return client, nil
}

// Retarget points a client without running requests at another database of the replica, so that one connection serves
// many databases.
func (b *boundedClient) Retarget(sub string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, err := b.connect(sub) // opens no connection yet
	if err != nil {
		return err
	}
	b.sub = sub
	switch client := b.client.(type) {
	case *s3.ReplicaClient:
		client.Path = next.(*s3.ReplicaClient).Path
	case *sftp.ReplicaClient:
		client.Path = next.(*sftp.ReplicaClient).Path
	default: // a directory has no connection
		b.client = next
	}
	return nil
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
	return &request{what: fmt.Sprintf(format, args...), limit: cmp.Or(b.stallTimeout, limit)}
}

// request is one request under way.
type request struct {
	what  string
	limit time.Duration
	moved atomic.Int64 // grows with progress
}

// outcome is the result of a request.
type outcome[T any] struct {
	v     T
	err   error
	panic any // nil: none
}

// withStallTimeout runs do until do returns, ctx ends or the request makes no progress for its limit. In the last two
// cases do has abandonAfter to return. After that withStallTimeout abandons the request: it calls abandon, and it calls
// late when do returns. A panic of do is raised in the caller, which is a named goroutine.
func withStallTimeout[T any](
	ctx context.Context, r *request, do func(context.Context) (T, error), abandon func(), late func(T),
) (v T, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	abandoned := false
	done := make(chan outcome[T], 1)
	go func() {
		got := catch(ctx, do)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !abandoned:
			done <- got
		case got.panic != nil:
			panic(got.panic)
		default:
			late(got.v)
		}
	}()
	if got, ok := awaitOutcome(ctx, r, cancel, done); ok {
		return got.result()
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
		return got.result()
	default:
	}
	abandoned = true
	abandon()
	return v, context.Cause(ctx)
}

// awaitOutcome waits for the outcome of a request until ctx ends, and reports whether it got the outcome. It cancels
// ctx with a StalledError when the request makes no progress for its limit.
func awaitOutcome[T any](
	ctx context.Context, r *request, cancel context.CancelCauseFunc, done <-chan outcome[T],
) (got outcome[T], ok bool) {
	ticker := time.NewTicker(r.limit / stallTicks)
	defer ticker.Stop()
	seen := r.moved.Load()
	since := time.Now()
	for ctx.Err() == nil {
		select {
		case got := <-done:
			return got, true
		case <-ctx.Done():
		case <-ticker.C:
			now := r.moved.Load()
			if now != seen {
				seen = now
				since = time.Now()
			} else if time.Since(since) >= r.limit {
				cancel(&StalledError{r.what, r.limit})
			}
		}
	}
	return got, false
}

// catch runs do and keeps its panic, with the stack.
func catch[T any](ctx context.Context, do func(context.Context) (T, error)) (got outcome[T]) {
	defer func() {
		if p := recover(); p != nil {
			got.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	got.v, got.err = do(ctx)
	return got
}

func (o outcome[T]) result() (T, error) {
	if o.panic != nil {
		panic(o.panic)
	}
	return o.v, o.err
}

// call makes one request of a bounded client.
func call[T any](ctx context.Context, b *boundedClient, r *request,
	do func(context.Context, litestream.ReplicaClient) (T, error), late func(T),
) (v T, err error) {
	client, err := b.current()
	if err != nil {
		return v, err
	}
	v, err = withStallTimeout(ctx, r, func(ctx context.Context) (T, error) { return do(ctx, client) },
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

func (b *boundedClient) do(
	ctx context.Context, r *request, do func(context.Context, litestream.ReplicaClient) error,
) error {
	_, err := call(ctx, b, r, func(ctx context.Context, client litestream.ReplicaClient) (struct{}, error) {
		return struct{}{}, do(ctx, client)
	}, func(struct{}) {})
	return err
}

// Type implements litestream.ReplicaClient.
func (b *boundedClient) Type() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.client.Type()
}

// SetLogger implements litestream.ReplicaClient. It does nothing: a failure is an error.
func (b *boundedClient) SetLogger(*slog.Logger) {}

// Init implements litestream.ReplicaClient.
func (b *boundedClient) Init(ctx context.Context) error {
	return b.do(ctx, b.request(DefaultStallTimeout, "connect"),
		func(ctx context.Context, client litestream.ReplicaClient) error {
			return client.Init(ctx)
		})
}

// LTXFiles implements litestream.ReplicaClient. It reads the whole listing before it returns.
func (b *boundedClient) LTXFiles(
	ctx context.Context, level int, seek ltx.TXID, useMetadata bool,
) (ltx.FileIterator, error) {
	r := b.request(DefaultStallTimeout, "list level %d", level)
	list := func(ctx context.Context, client litestream.ReplicaClient) (infos []*ltx.FileInfo, err error) {
		it, err := client.LTXFiles(ctx, level, seek, useMetadata)
		if err != nil {
			return nil, err
		}
		for it.Next() {
			r.moved.Add(1)
			infos = append(infos, it.Item())
		}
		err = it.Err()
		closed := it.Close()
		if err == nil {
			err = closed // otherwise Close returns the same error again
		}
		return infos, err
	}
	infos, err := call(ctx, b, r, list, func([]*ltx.FileInfo) {})
	if err != nil {
		return nil, err
	}
	return ltx.NewFileInfoSliceIterator(infos), nil
}

// WriteLTXFile implements litestream.ReplicaClient.
func (b *boundedClient) WriteLTXFile(
	ctx context.Context, level int, minTXID, maxTXID ltx.TXID, rd io.Reader,
) (*ltx.FileInfo, error) {
	r := b.request(uploadStall, "write level %d, %s", level, ltx.FormatFilename(minTXID, maxTXID))
	from := io.Reader(&movedReader{rd, &r.moved})
	if f, ok := rd.(readSeekerAt); ok {
		from = &movedFile{f: f, moved: &r.moved}
	}
	return call(ctx, b, r, func(ctx context.Context, client litestream.ReplicaClient) (*ltx.FileInfo, error) {
		return client.WriteLTXFile(ctx, level, minTXID, maxTXID, from)
	}, func(*ltx.FileInfo) {})
}

// DeleteLTXFiles implements litestream.ReplicaClient.
func (b *boundedClient) DeleteLTXFiles(ctx context.Context, files []*ltx.FileInfo) error {
	for some := range slices.Chunk(files, deleteBatch) {
		r := b.request(DefaultStallTimeout, "delete %d files", len(some))
		err := b.do(ctx, r, func(ctx context.Context, client litestream.ReplicaClient) error {
			return client.DeleteLTXFiles(ctx, some)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteAll implements litestream.ReplicaClient.
func (b *boundedClient) DeleteAll(ctx context.Context) error {
	return b.do(ctx, b.request(uploadStall, "delete all"),
		func(ctx context.Context, client litestream.ReplicaClient) error {
			return client.DeleteAll(ctx)
		})
}
