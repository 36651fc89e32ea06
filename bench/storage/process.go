package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// peakRSS is the most memory that this process ever had, in bytes; 0 where the system doesn't say.
func peakRSS() int64 { return procValue("/proc/self/status", "VmHWM:") << 10 }

// resetPeak makes the peak start anew.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// bytesWritten is what this process has handed to write calls, in bytes; 0 where the system doesn't say.
func bytesWritten() int64 { return procValue("/proc/self/io", "wchar:") }

// loadAverage is the machine's over the last minute, with others' work in it.
func loadAverage() string {
	data, _ := os.ReadFile("/proc/loadavg")
	load, _, _ := strings.Cut(string(data), " ")
	return load
}

func procValue(path, name string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

// heapInUse is the heap after a collection, in bytes.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpuTime is what this process has computed so far, in all its threads: it tells more than the clock on a machine that
// others use as well. 0 where the system doesn't say.
func cpuTime() time.Duration {
	data, _ := os.ReadFile("/proc/self/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // the kernel's unit for these figures
}
