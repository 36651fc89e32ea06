package replica

import (
	"context"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/replica/config"
)

// faulty are objects that a test cuts off from their holder, or whose holder it blinds.
type faulty struct {
	config.Objects
	blind atomic.Bool // no other's lease is seen, as by a weft that knows of none, and the own isn't renewed

	mu   sync.Mutex
	open chan struct{} // closed while they can be reached
}

func newFaulty() *faulty {
	f := &faulty{open: make(chan struct{})}
	close(f.open)
	return f
}

func (f *faulty) wrap(o config.Objects) config.Objects {
	f.Objects = o
	return f
}

func (f *faulty) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = make(chan struct{})
}

func (f *faulty) reopen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.open)
}

func (f *faulty) wait(ctx context.Context) error {
	f.mu.Lock()
	open := f.open
	f.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *faulty) List(ctx context.Context, dir string) ([]string, error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	return f.Objects.List(ctx, dir)
}

func (f *faulty) Read(ctx context.Context, name string) ([]byte, error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	if f.blind.Load() {
		return nil, fs.ErrNotExist
	}
	return f.Objects.Read(ctx, name)
}

func (f *faulty) Write(ctx context.Context, name string, data []byte) error {
	if err := f.wait(ctx); err != nil {
		return err
	}
	if f.blind.Load() {
		return nil
	}
	return f.Objects.Write(ctx, name, data)
}

// configure is for beginWith.
func (f *faulty) configure(c *ReplicatorConfig) { c.objects = f.wrap }

// pollGate has a token while the polls of its replicators may run. One of them runs at a time.
type pollGate chan struct{}

func newPollGate() pollGate {
	g := make(pollGate, 1)
	g.reopen()
	return g
}

// shut waits for a poll that runs. From then on polls wait.
func (g pollGate) shut()   { <-g }
func (g pollGate) reopen() { g <- struct{}{} }

// configure is for beginWith.
func (g pollGate) configure(c *ReplicatorConfig) {
	c.polls = func(poll pollFunc) pollFunc {
		return func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-g:
			}
			defer g.reopen()
			return poll(ctx)
		}
	}
}

func mustBeginWith(t *testing.T, cfg config.Config, events []apply.Event,
	change func(*ReplicatorConfig)) *primary {
	t.Helper()
	p, err := beginWith(t.Context(), cfg, 0, events, nil, change)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// placeOfKind is a place for a replica, and a configuration of an index there.
func placeOfKind(t *testing.T, kind string) config.Config {
	t.Helper()
	cfg := liveConfig(t)
	cfg.Levels = []time.Duration{time.Hour} // nothing is merged meanwhile
	if kind == "file" {
		return cfg
	}
	own := newStore(t, kind).cfg
	own.DB, own.SyncInterval, own.Levels = cfg.DB, cfg.SyncInterval, cfg.Levels
	return own
}

// feedAll applies events, and waits until they are in the replica.
func feedAll(t *testing.T, p *primary, n int) {
	t.Helper()
	mustFeed(t, p, n)
	seq := p.store.Seq()
	defer func() {
		if t.Failed() {
			t.Logf("%+v", p.rep.Status())
		}
	}()
	eventually(t, "what was written is in the replica", func() bool { return p.rep.Status().DurableLogSeq >= seq })
}
