package replica

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestPanicIsNamed: a panic of a goroutine is logged with the goroutine's name, and raised again.
func TestPanicIsNamed(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	defer func() {
		if p := recover(); p != "a fault" || !strings.Contains(log.String(), "goroutine=upload") {
			t.Errorf("raised %v, logged %q", p, log.String())
		}
	}()
	defer logPanic(slog.New(slog.NewTextHandler(&log, nil)), "upload")
	panic("a fault")
}
