package replica

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/config"
)

// hangingObjects hang until their requests are canceled. Deaf ones hang until free is closed.
type hangingObjects struct {
	deaf  bool
	free  chan struct{}
	hangs *atomic.Int64
}

func (o hangingObjects) hang(ctx context.Context) error {
	o.hangs.Add(1)
	defer o.hangs.Add(-1)
	done := ctx.Done()
	if o.deaf {
		done = nil
	}
	select {
	case <-done:
		return ctx.Err()
	case <-o.free:
		return errors.New("let go")
	}
}

func (o hangingObjects) List(ctx context.Context, _ string) ([]string, error) {
	return nil, o.hang(ctx)
}
func (o hangingObjects) Read(ctx context.Context, _ string) ([]byte, error) {
	return nil, o.hang(ctx)
}
func (o hangingObjects) Create(ctx context.Context, _ string, _ []byte) error { return o.hang(ctx) }
func (o hangingObjects) Write(ctx context.Context, _ string, _ []byte) error  { return o.hang(ctx) }
func (o hangingObjects) Close() error                                         { return nil }
func (o hangingObjects) Missing(ctx context.Context, _ string, _ []string) ([]string, error) {
	return nil, o.hang(ctx)
}

// TestHungLease: whatever the lease asks of a store that takes requests and doesn't answer is given up in its time: a
// look before an upload, a renewal, a look for what is gone. An upload that waits for such a look fails, and isn't
// taken for another writer's doing; and the lease is given back within its time.
func TestHungLease(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(map[bool]string{false: "hears", true: "deaf"}[deaf], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := hangingObjects{deaf: deaf, free: make(chan struct{}), hangs: new(atomic.Int64)}
				r := New(ReplicatorConfig{Replica: config.Config{Type: "file", Path: "/copy"}})
				r.queue = &uploadQueue{}
				b := config.BoundObjects(h, config.DefaultStallTimeout)
				r.lease = &lease{objects: b, times: defaultLeaseTimes, logger: r.cfg.Logger, state: func(*leaseRecord) {},
					onLost:     func(error) { t.Error("it is lost") },
					generation: 3, renewed: time.Now(), stopped: make(chan struct{})}
				for what, do := range map[string]func(context.Context) error{
					"list":   func(ctx context.Context) error { _, err := r.lease.newest(ctx); return err },
					"read":   r.lease.check,
					"renew":  r.lease.renew,
					"create": func(ctx context.Context) error { return b.Create(ctx, leaseName(4), nil) },
					"write":  func(ctx context.Context) error { return r.lease.put(ctx, 3, 1, false) },
					"missing": func(ctx context.Context) error {
						_, err := b.Missing(ctx, config.SegmentsSub, nil)
						return err
					},
					"upload": func(ctx context.Context) error {
						_, err := orderedClient{nil, r}.WriteLTXFile(ctx, 1, 1, 1, nil)
						return err
					},
					"delete": func(ctx context.Context) error {
						return orderedClient{nil, r}.DeleteLTXFiles(ctx, []*ltx.FileInfo{{}})
					},
				} {
					began := time.Now()
					err := do(t.Context())
					var stalled *config.StalledError
					if !errors.As(err, &stalled) || fenced(err) {
						t.Errorf("%s: error %v", what, err)
					}
					if took := time.Since(began); took < config.DefaultStallTimeout ||
						took > config.DefaultStallTimeout*7/6+2*time.Second {
						t.Errorf("%s is given up after %s", what, took)
					}
				}
				ctx, stop := context.WithCancel(t.Context())
				r.lease.stop = stop
				go r.lease.run(ctx)
				time.Sleep(defaultLeaseTimes.renew + time.Second) // a renewal hangs
				end, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				_ = r.lease.release(end, true)
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("it is given back after %s", took)
				}
				close(h.free)
				synctest.Wait()
				if n := h.hangs.Load(); n != 0 {
					t.Errorf("%d requests are left behind", n)
				}
			})
		})
	}
}
