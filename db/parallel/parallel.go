// Package parallel does short pieces of work on all cores.
package parallel

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"weft.dev/weft/db/panics"
)

const (
	// most bounds the goroutines of a call: beyond it what comes between the calls takes most of the time.
	most = 8
	// perTurn is the number of calls that a goroutine makes at a time, so that it rarely waits for the shared counter. For
	// fewer no other goroutine is started.
	perTurn = 16
)

// Do calls do with each number below n, over as many goroutines as the process has cores, and returns after the last
// call. name is that of the goroutines, for the log of a panic.
func Do(logger *slog.Logger, name string, n int, do func(i int)) {
	var next atomic.Int64
	turns := func() {
		for {
			to := int(next.Add(perTurn))
			for i := to - perTurn; i < min(to, n); i++ {
				do(i)
			}
			if to >= n {
				return
			}
			runtime.Gosched() // otherwise other goroutines wait for up to 10 ms, until the scheduler preempts this one
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), most, (n+perTurn-1)/perTurn) - 1 {
		others.Go(func() {
			defer panics.Log(logger, name)
			turns()
		})
	}
	turns()
	others.Wait()
}
