package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
)

// TestGroup: the first error of a goroutine ends the others and is the result.
func TestGroup(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	g := newGroup(t.Context(), slog.New(slog.DiscardHandler))
	waited := g.start("waits", func() error {
		<-g.ctx.Done()
		return g.ctx.Err()
	})
	g.start("fails", func() error { return failed })
	err := g.wait()
	if !errors.Is(err, failed) || errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, failed)
	}
	<-waited
}
