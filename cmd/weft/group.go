package main

import (
	"context"
	"log/slog"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// group runs named goroutines. Its context ends with the first error, or with the context it was made of.
type group struct {
	ctx    context.Context
	errs   *errgroup.Group
	logger *slog.Logger
}

func newGroup(ctx context.Context, logger *slog.Logger) *group {
	errs, ctx := errgroup.WithContext(ctx)
	return &group{ctx: ctx, errs: errs, logger: logger}
}

// start runs a goroutine and returns a channel that closes when the goroutine ends.
func (g *group) start(name string, do func() error) <-chan struct{} {
	ended := make(chan struct{})
	g.errs.Go(func() error {
		defer close(ended)
		defer logPanic(g.logger, name)
		return do()
	})
	return ended
}

// wait returns the first error once all goroutines have ended.
func (g *group) wait() error { return g.errs.Wait() }

// logPanic logs a panic with the name of its goroutine and raises it again. Callers defer it.
func logPanic(logger *slog.Logger, name string) {
	p := recover()
	if p == nil {
		return
	}
	logger.Error("panic", "goroutine", name, "panic", p, "stack", string(debug.Stack()))
	panic(p)
}
