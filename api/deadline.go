package api

import (
	"context"
	"sync"
	"time"
)

// deadlineContext is as context.WithDeadline, but its timer begins with the first call of Done: most queries end before
// anything waits for them, and a timer costs as much as parsing the request.
type deadlineContext struct {
	context.Context // of the request
	at              time.Time

	mu     sync.Mutex
	timed  context.Context // nil: nothing has waited so far
	cancel context.CancelFunc
}

// withTimeout returns a context of a request that ends after a time. The caller calls end when the answer is ready.
func withTimeout(parent context.Context, timeout time.Duration) *deadlineContext {
	at := time.Now().Add(timeout)
	if earlier, ok := parent.Deadline(); ok && earlier.Before(at) {
		at = earlier
	}
	return &deadlineContext{Context: parent, at: at}
}

// Deadline implements context.Context.
func (c *deadlineContext) Deadline() (time.Time, bool) { return c.at, true }

// Done implements context.Context.
func (c *deadlineContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.at)
	}
	return c.timed.Done()
}

// Err implements context.Context. It is not nil once the channel of Done is closed: that is the timer's part, and from
// the same time on a new timer is over at once.
func (c *deadlineContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed != nil {
		return c.timed.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if time.Now().Before(c.at) {
		return nil
	}
	return context.DeadlineExceeded
}

// Value implements context.Context. Contexts that derive from this one find the timer by it, and need no goroutine.
func (c *deadlineContext) Value(key any) any {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

// end stops the timer. The context of the request ends what still waits.
func (c *deadlineContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}
