package main

import (
	"math"
	"strings"
	"testing"
)

// TestMemoryLimit: --memory wins over GOMEMLIMIT, which wins over the memory of the container or machine.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                      string
		given, goLimit, all, want int64
	}{
		{"1 GiB", 0, math.MaxInt64, 1 << 30, 896 << 20},
		{"4 GiB", 0, math.MaxInt64, 4 << 30, 3584 << 20},
		{"GOMEMLIMIT", 0, 900 << 20, 900 << 20, 900 << 20},
		{"--memory", 500 << 20, math.MaxInt64, 1 << 30, 500 << 20},
		{"both", 500 << 20, 900 << 20, 900 << 20, 500 << 20},
	} {
		if got := memoryLimit(tc.given, tc.goLimit, tc.all); got != tc.want {
			t.Errorf("%s: %d bytes, want %d", tc.name, got, tc.want)
		}
	}
	for memory, want := range map[int64]int64{64 << 20: 8 << 20, 896 << 20: 28 << 20, 3584 << 20: 112 << 20,
		1 << 40: 256 << 20} {
		if got := cacheBytes(memory); got != want {
			t.Errorf("of %d bytes the cache takes %d, want %d", memory, got, want)
		}
	}
}

// TestMemoryFlags: impossible sizes are refused before anything begins.
func TestMemoryFlags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ flag, value, says string }{
		{"--memory", "much", "--memory must be a size such as 900MiB"},
		{"--memory", "900", "--memory must be 64MiB or more"},
		{"--memory", "-1GiB", "--memory must be a size"},
		{"--cache", "-1", "--cache must be 0, or 1 MiB or more"},
	} {
		code, _, stderr := weft(t.Context(), "serve", "--data", t.TempDir(), tc.flag+"="+tc.value)
		if code != 2 || !strings.Contains(stderr, tc.says) {
			t.Errorf("%s=%s: code %d, %s", tc.flag, tc.value, code, stderr)
		}
	}
}
