package memlimit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
)

// TestGCPercent: the heap grows by 20 MiB before the next collection, by 15 % if that is more, and by 500 % at most.
func TestGCPercent(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{0: 500, 1 << 20: 500, 4 << 20: 500, 20 << 20: 100, 40 << 20: 50, 100 << 20: 20,
		133 << 20: 15, 1 << 30: 15, 1 << 40: 15} {
		if got := gcPercent(live); got != want {
			t.Errorf("GOGC with %d MiB in use is %d, want %d", live>>20, got, want)
		}
	}
}

// paceVariable has the MiB that a process of TestPaceGC holds.
const paceVariable = "WEFT_TEST_PACE_GC"

// TestPaceGC: GOGC follows the memory in use, and the environment overrides it. Each case is a process of its own.
func TestPaceGC(t *testing.T) {
	if hold := os.Getenv(paceVariable); hold != "" {
		fmt.Print("GOGC is ", pacedGOGC(hold), ".")
		os.Exit(0)
	}
	t.Parallel()
	for _, tc := range []struct {
		name, gogc, hold string
		least, most      int
	}{
		{"a small heap", "", "0", 300, 500},
		{"40 MiB", "", "40", 40, 50},
		{"200 MiB", "", "200", 15, 15},
		{"the environment", "70", "40", 70, 70},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPaceGC$")
			child.Env = append(os.Environ(), paceVariable+"="+tc.hold, "GOGC="+tc.gogc)
			out, err := child.Output()
			var got int
			_, scanErr := fmt.Sscanf(string(out), "GOGC is %d.", &got)
			if err != nil || scanErr != nil || got < tc.least || got > tc.most {
				t.Errorf("%q, %v, want %d to %d", out, err, tc.least, tc.most)
			}
		})
	}
}

// pacedGOGC returns the GOGC after collections of a heap with so many MiB in use.
func pacedGOGC(hold string) uint64 {
	n, _ := strconv.Atoi(hold)
	PaceGC()
	heap := bytes.Repeat([]byte{1}, n<<20)
	for range 100 { // the finalizer runs a moment after a collection
		runtime.GC()
	}
	runtime.KeepAlive(heap)
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
