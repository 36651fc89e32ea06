package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// peakRSS returns the peak memory of this process in bytes; 0 if unknown.
func peakRSS() int64 { return procValue("/proc/self/status", "VmHWM:") << 10 }

// resetPeak resets the peak.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// bytesWritten returns the bytes of all write calls of this process; 0 if unknown.
func bytesWritten() int64 { return procValue("/proc/self/io", "wchar:") }

// loadAverage returns the machine's load of the last minute, with other programs.
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

// heapInUse returns the heap after a collection, in bytes.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpuTime returns the processor time of this process, in all its threads. On a shared machine it is more reliable than
// the clock. 0 if unknown.
func cpuTime() time.Duration {
	data, _ := os.ReadFile("/proc/self/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // the kernel's unit for these values
}
