package main

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db/panics"
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
		defer panics.Log(g.logger, name)
		return do()
	})
	return ended
}

// wait returns the first error once all goroutines have ended.
func (g *group) wait() error { return g.errs.Wait() }
