package index

import (
	"context"
	"sync"
)

// oneAtATime has concurrent requests for one key derive a value one after the other: the second finds what the first
// has cached. The zero value is ready.
type oneAtATime struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed at the end
}

// begin waits until no other derives for the key, or until ctx ends, and returns what ends the turn.
func (o *oneAtATime) begin(ctx context.Context, key string) (end func(), err error) {
	for {
		o.mu.Lock()
		other := o.busy[key]
		if other == nil {
			if o.busy == nil {
				o.busy = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			o.busy[key] = mine
			o.mu.Unlock()
			return func() {
				o.mu.Lock()
				delete(o.busy, key)
				o.mu.Unlock()
				close(mine)
			}, nil
		}
		o.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
