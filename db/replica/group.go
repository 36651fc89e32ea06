package replica

import (
	"log/slog"

	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db/panics"
)

// start runs a named goroutine of a group. A panic is logged with the name before it ends the process.
func start(g *errgroup.Group, logger *slog.Logger, name string, do func() error) {
	g.Go(func() error {
		defer panics.Log(logger, name)
		return do()
	})
}
