package e2e

import (
	"context"
	"testing"

	"weft.dev/weft/ingest/sim"
)

// serveNetwork serves a synthetic network in this process until the test ends.
func serveNetwork(t *testing.T, cfg sim.ServerConfig) *sim.Server {
	t.Helper()
	upstream, err := sim.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- upstream.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the synthetic upstream: %v", err)
		}
	})
	return upstream
}
