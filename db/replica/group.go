package replica

import (
	"log/slog"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// start runs a named goroutine of a group. A panic is logged with the name before it ends the process.
func start(g *errgroup.Group, logger *slog.Logger, name string, do func() error) {
	g.Go(func() error {
		defer logPanic(logger, name)
		return do()
	})
}

// logPanic is deferred by each goroutine: it logs a panic with the goroutine's name and raises it again.
func logPanic(logger *slog.Logger, name string) {
	if p := recover(); p != nil {
		logger.Error("panic", "goroutine", name, "panic", p, "stack", string(debug.Stack()))
		panic(p)
	}
}
