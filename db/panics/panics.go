// Package panics logs panics of goroutines.
package panics

import (
	"log/slog"
	"runtime/debug"
)

// Log logs a panic with the name of its goroutine, and raises it again: it ends the process. A goroutine defers Log.
func Log(logger *slog.Logger, goroutine string) {
	p := recover()
	if p == nil {
		return
	}
	logger.Error("panic", "goroutine", goroutine, "panic", p, "stack", string(debug.Stack()))
	panic(p)
}
