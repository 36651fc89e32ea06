package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/superfly/ltx"
)

// hangingObjects are objects whose requests hang, as those of a hanging client.
type hangingObjects struct {
	objects
	h *hanging
}

func (o hangingObjects) list(ctx context.Context, _ string) ([]string, error) {
	return nil, o.h.hang(ctx)
}
func (o hangingObjects) read(ctx context.Context, _ string) ([]byte, error) {
	return nil, o.h.hang(ctx)
}
func (o hangingObjects) create(ctx context.Context, _ string, _ []byte) error { return o.h.hang(ctx) }
func (o hangingObjects) write(ctx context.Context, _ string, _ []byte) error  { return o.h.hang(ctx) }
func (o hangingObjects) close() error                                         { return nil }
func (o hangingObjects) missing(ctx context.Context, _ string, _ []string) ([]string, error) {
	return nil, o.h.hang(ctx)
}

// TestHungLease: whatever the lease asks of a store that takes requests and doesn't answer is given up in its time: a look before
// an upload, a renewal, a look for what is gone. An upload that waits for such a look fails, and isn't taken for another writer's
// doing; and the lease is given back within its time.
func TestHungLease(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(map[bool]string{false: "hears", true: "deaf"}[deaf], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &hanging{deaf: deaf, free: make(chan struct{})}
				r := New(ReplicatorConfig{Replica: Config{Type: "file", Path: "/copy"}})
				r.debt = &debt{}
				b := &boundedObjects{objects: hangingObjects{nil, h}, patience: stallTimeout}
				r.lease = &lease{objects: b, times: defaultLeaseTimes, logger: r.cfg.Logger, state: func(*leaseRecord) {}, onLost: func(error) { t.Error("it is lost") },
					generation: 3, renewed: time.Now(), stopped: make(chan struct{})}
				for what, do := range map[string]func(context.Context) error{
					"list":   func(ctx context.Context) error { _, err := r.lease.newest(ctx); return err },
					"read":   r.lease.check,
					"renew":  r.lease.renew,
					"create": func(ctx context.Context) error { return b.create(ctx, leaseName(4), nil) },
					"write":  func(ctx context.Context) error { return r.lease.put(ctx, 3, 1, false) },
					"missing": func(ctx context.Context) error {
						_, err := b.missing(ctx, segmentsSub, nil)
						return err
					},
					"upload": func(ctx context.Context) error {
						_, err := gate{boundTo(&slow{}), r}.WriteLTXFile(ctx, 1, 1, 1, nil)
						return err
					},
					"delete": func(ctx context.Context) error {
						return gate{boundTo(&slow{}), r}.DeleteLTXFiles(ctx, []*ltx.FileInfo{{}})
					},
				} {
					began := time.Now()
					err := do(t.Context())
					var stalled *StalledError
					if !errors.As(err, &stalled) || fenced(err) {
						t.Errorf("%s: error %v", what, err)
					}
					if took := time.Since(began); took < stallTimeout || took > stallTimeout+stallTimeout/stallTicks+2*abandonAfter {
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
				if took := time.Since(began); took > 5*time.Second+3*abandonAfter {
					t.Errorf("it is given back after %s", took)
				}
				close(h.free)
				synctest.Wait()
				if n := b.abandoned.Load(); n != 0 {
					t.Errorf("%d requests are left behind", n)
				}
			})
		})
	}
}
