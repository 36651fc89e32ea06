package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"

	sizes "github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/memlimit"
)

const (
	// goShare is the part of the memory, in eighths, that Go's heap may take before the garbage collector works harder.
	// SQLite's page caches, stacks and the binary have the rest.
	goShare = 7
	// cacheShare divides the memory for the default of --cache: 28 MiB on a machine of 1 GiB. The peak is then about
	// that of 32 MiB in docs/operations.md.
	cacheShare = 32
	leastCache = 8 << 20
	// mostCache is the largest cache measured on two cores: docs/operations.md, Sizes.
	mostCache = 256 << 20
	// leastMemory is less than the measured memory of any index.
	leastMemory = 64 << 20
)

// memoryFlag is the flag that overrides the memory limit of a daemon.
func memoryFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "memory",
		Usage: "memory that weft may take, a `SIZE` such as 900MiB, which the cache, the budgets of clients and the " +
			"garbage collector follow; default: GOMEMLIMIT, or 7/8 of the limit of the container or of the machine",
	}
}

// limitMemory sets the soft limit of Go's runtime, which the budgets and the cache follow.
func limitMemory(cmd *cli.Command) error {
	given := int64(0)
	if text := cmd.String("memory"); text != "" {
		bytes, err := sizes.ParseBytes(text)
		if err != nil || bytes > math.MaxInt64 {
			return &usageError{fmt.Errorf("--memory must be a size such as 900MiB, not %q", text)}
		}
		if bytes < leastMemory {
			return &usageError{errors.New("--memory must be 64MiB or more")}
		}
		given = int64(bytes)
	}
	debug.SetMemoryLimit(memoryLimit(given, debug.SetMemoryLimit(-1), memlimit.Bytes()))
	return nil
}

// logMemory logs the memory limit of a daemon.
func logMemory(logger *slog.Logger, cache int64) {
	logger.Info("memory limit", "limit_bytes", memlimit.Bytes(), "cache_bytes", cache)
}

// memoryLimit returns the limit of Go's heap in bytes: from --memory, else GOMEMLIMIT, else a share of all memory of
// the process. given is 0 without the flag; goLimit is math.MaxInt64 without the variable.
func memoryLimit(given, goLimit, all int64) int64 {
	switch {
	case given > 0:
		return given
	case goLimit != math.MaxInt64:
		return goLimit
	}
	return all / 8 * goShare
}

// cacheBytes returns the size of the block cache in bytes for a memory limit.
func cacheBytes(memory int64) int64 { return min(max(memory/cacheShare, leastCache), mostCache) }

// cacheOf returns the size of the block cache in bytes: --cache, or a share of the memory.
func cacheOf(cmd *cli.Command) (int64, error) {
	mib := cmd.Int("cache")
	if mib < 0 || mib > 1<<20 {
		return 0, &usageError{fmt.Errorf("--cache must be 0, or 1 MiB or more, not %d", mib)}
	}
	if mib == 0 {
		return cacheBytes(memlimit.Bytes()), nil
	}
	return int64(mib) << 20, nil
}
