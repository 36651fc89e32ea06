// Package memlimit finds the memory limit of the process, and paces the garbage collector.
package memlimit

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// Bytes returns the memory limit of the process in bytes: the least of GOMEMLIMIT, the address space limit, the limits
// of its control groups and the memory of the machine.
func Bytes() int64 {
	least := debug.SetMemoryLimit(-1)
	var as syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_AS, &as); err == nil && as.Cur < math.MaxInt64 {
		least = min(least, int64(as.Cur))
	}
	least = min(least, cgroupMemory(os.DirFS("/")))
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if n := memTotal(string(text)); n > 0 {
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 1 << 30 // unknown: assume the smallest machine
	}
	return least
}

// memTotal reads the line "MemTotal: 16384 kB"; 0: there is none.
func memTotal(meminfo string) int64 {
	_, rest, _ := strings.Cut(meminfo, "MemTotal:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "kB")), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
