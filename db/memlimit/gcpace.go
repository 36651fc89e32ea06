package memlimit

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// gcHeadroom is by how much the heap may grow between two collections, in bytes, where that is more than gcLeast.
	// With ten million links, ingest allocates it five times a second. A percentage alone would collect the heap of a
	// small index dozens of times a second.
	gcHeadroom = 20 << 20
	// gcLeast is the least GOGC. It applies from 133 MiB in use on.
	gcLeast = 15
	// gcMost is the greatest GOGC, of a heap of 4 MiB, Go's own minimum.
	gcMost = 500
)

// PaceGC sets the GOGC of the process after each collection, by the memory in use, so that the heap grows by a bounded
// amount before the next one. It does nothing if the environment sets GOGC. Most memory of a store is large and has no
// pointers, so that collections are cheap.
func PaceGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcMost)
		paceNextGC()
	}
}

// paceNextGC sets GOGC after the next collection, which runs the finalizer, and after all that follow.
func paceNextGC() {
	type unreachable struct{ _ *int } // with a pointer it shares its memory with no other object
	runtime.SetFinalizer(&unreachable{}, func(*unreachable) {
		samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}}
		metrics.Read(samples)
		percent := gcPercent(samples[0].Value.Uint64())
		if uint64(percent) != samples[1].Value.Uint64() { // setting it stops the program for a moment
			debug.SetGCPercent(percent)
		}
		paceNextGC()
	})
}

// gcPercent returns the GOGC for a heap in use, in bytes.
func gcPercent(live uint64) int {
	return int(min(max(gcHeadroom*100/max(live, 1), gcLeast), gcMost))
}
