package disk

import (
	"fmt"
	"strconv"
	"strings"

	sizes "github.com/dustin/go-humanize"
)

// Budget bounds the bytes that all files of a data directory take together: log, WAL, segments, the output of
// compactions and the files that a replicator has not uploaded. The zero Budget sets no bound: only the disk bounds the
// files.
type Budget struct {
	Bytes   int64
	Percent float64 // of the file system; 0: Bytes is the bound
}

// leastBudget is the smallest budget that ParseBudget accepts, in bytes: four times the 134 MB of it that weft keeps
// free.
const leastBudget = 512 << 20

// ParseBudget parses a size such as 17GiB or a share of the file system such as 90%.
func ParseBudget(text string) (Budget, error) {
	if share, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return Budget{}, fmt.Errorf("%q is not a share of the file system such as 90%%", text)
		}
		return Budget{Percent: percent}, nil
	}
	bytes, err := sizes.ParseBytes(text)
	if err != nil || bytes > 1<<62 {
		return Budget{}, fmt.Errorf("%q is neither a size such as 17GiB nor a share of the file system such as 90%%", text)
	}
	if bytes < leastBudget {
		return Budget{}, fmt.Errorf("%q is less than 512MiB", text)
	}
	return Budget{Bytes: int64(bytes)}, nil
}

// Limit returns the budget on a file system of total bytes, in bytes; 0: none.
func (b Budget) Limit(total int64) int64 {
	if b.Percent > 0 {
		return int64(float64(total) * b.Percent / 100)
	}
	return b.Bytes
}
