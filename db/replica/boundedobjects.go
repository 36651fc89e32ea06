package replica

import (
	"context"
	"sync/atomic"
	"time"
)

// boundedObjects gives up each request that takes longer than patience: each is of one small file or of one listing. A renewal
// of the lease and the look at it before each upload would otherwise wait for ever for a store that takes a request and
// doesn't answer.
type boundedObjects struct {
	objects
	patience  time.Duration
	abandoned atomic.Int64 // requests that were given up and haven't returned
}

// within makes one request of bounded objects.
func within[T any](ctx context.Context, b *boundedObjects, what string, do func(context.Context) (T, error)) (v T, err error) {
	if b.abandoned.Load() >= maxAbandoned {
		return v, errHanging
	}
	return watch(ctx, &request{what: what, limit: b.patience}, do, func() { b.abandoned.Add(1) }, func(T) { b.abandoned.Add(-1) })
}

func (b *boundedObjects) list(ctx context.Context, dir string) ([]string, error) {
	return within(ctx, b, "list "+dir, func(ctx context.Context) ([]string, error) { return b.objects.list(ctx, dir) })
}

func (b *boundedObjects) read(ctx context.Context, name string) ([]byte, error) {
	return within(ctx, b, "read "+name, func(ctx context.Context) ([]byte, error) { return b.objects.read(ctx, name) })
}

func (b *boundedObjects) create(ctx context.Context, name string, data []byte) error {
	_, err := within(ctx, b, "create "+name, func(ctx context.Context) (nothing, error) {
		return nothing{}, b.objects.create(ctx, name, data)
	})
	return err
}

func (b *boundedObjects) write(ctx context.Context, name string, data []byte) error {
	_, err := within(ctx, b, "write "+name, func(ctx context.Context) (nothing, error) {
		return nothing{}, b.objects.write(ctx, name, data)
	})
	return err
}

func (b *boundedObjects) missing(ctx context.Context, dir string, names []string) ([]string, error) {
	return within(ctx, b, "look for files in "+dir, func(ctx context.Context) ([]string, error) {
		return b.objects.missing(ctx, dir, names)
	})
}
