package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadlineContext: a context ends with its time or with the request, whether something waits for it or not.
func TestDeadlineContext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		wait bool // something waits before the end
		end  func(cancel context.CancelFunc)
		want error
	}{
		{"in time", false, func(context.CancelFunc) { time.Sleep(time.Second - 1) }, nil},
		{"in time, waiting", true, func(context.CancelFunc) { time.Sleep(time.Second - 1) }, nil},
		{"late", false, func(context.CancelFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		{"late, waiting", true, func(context.CancelFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		{"gone", false, func(cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"gone, waiting", true, func(cancel context.CancelFunc) { cancel() }, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(t.Context())
				defer cancel()
				ctx := withTimeout(parent, time.Second)
				defer ctx.end()
				derived, stop := context.Background(), func() {}
				if c.wait {
					derived, stop = context.WithCancel(ctx)
				}
				defer stop()
				c.end(cancel)
				synctest.Wait()
				if err := ctx.Err(); !errors.Is(err, c.want) {
					t.Errorf("Err %v, want %v", err, c.want)
				}
				if c.wait && !errors.Is(derived.Err(), c.want) {
					t.Errorf("a derived context has %v, want %v", derived.Err(), c.want)
				}
				select {
				case <-ctx.Done():
					if c.want == nil {
						t.Error("Done is closed")
					}
				default:
					if c.want != nil {
						t.Error("Done is open")
					}
				}
			})
		})
	}
}

// TestDeadlineOfParent: an earlier deadline of the request counts.
func TestDeadlineOfParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx := withTimeout(parent, time.Minute)
		defer ctx.end()
		if at, _ := ctx.Deadline(); time.Until(at) != time.Second {
			t.Errorf("deadline in %s", time.Until(at))
		}
		<-ctx.Done()
		if ctx.Err() != context.DeadlineExceeded {
			t.Error(ctx.Err())
		}
	})
}
