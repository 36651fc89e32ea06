package api

import (
	"context"
	"slices"
	"sync"
)

// turns lets so many in at once, and the others in turn: one of each address, then the next of each. Who asks a hundred things at once
// waits for himself, and nobody else does.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting map[string][]chan struct{} // by address, the longest waiting first
	order   []string                   // addresses that wait, the next first
}

func newTurns(n int) *turns { return &turns{free: n, waiting: map[string][]chan struct{}{}} }

// take waits for a turn, which done gives back, and returns the error of ctx when none comes in time.
func (t *turns) take(ctx context.Context, address string) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if len(t.waiting[address]) == 0 {
		t.order = append(t.order, address)
	}
	t.waiting[address] = append(t.waiting[address], turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[address], turn)
	if i < 0 { // it came at the same moment
		t.pass()
		return ctx.Err()
	}
	t.waiting[address] = slices.Delete(t.waiting[address], i, i+1)
	if len(t.waiting[address]) == 0 {
		delete(t.waiting, address)
		i := slices.Index(t.order, address)
		t.order = slices.Delete(t.order, i, i+1)
	}
	return ctx.Err()
}

// done gives a turn back.
func (t *turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass hands a turn to the next who waits.
func (t *turns) pass() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	address := t.order[0]
	t.order = t.order[1:]
	queue := t.waiting[address]
	close(queue[0])
	if len(queue) == 1 {
		delete(t.waiting, address)
		return
	}
	t.waiting[address] = queue[1:]
	t.order = append(t.order, address)
}
