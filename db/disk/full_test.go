package disk

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// coded is an error as SQLite's driver gives it.
type coded int

func (c coded) Error() string { return fmt.Sprintf("disk I/O error (%d)", int(c)) }
func (c coded) Code() int     { return int(c) }

// TestWrapFull: what comes of a full disk is said to, and no file is blamed for it; what doesn't is left as it is.
func TestWrapFull(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		free int64
		full bool
	}{
		{"no room for the -shm file", fmt.Errorf("read schema version (is the file damaged?): %w", coded(4874)), 0,
			true},
		{"no room for the -shm file, in a quota", coded(4874), 1 << 30, true},
		{"no room for a page", coded(13), 1 << 30, true},
		{"no room for a segment", fmt.Errorf("write: %w", syscall.ENOSPC), 1 << 30, true},
		{"beyond a quota", fmt.Errorf("write: %w", syscall.EDQUOT), 1 << 30, true},
		{"a write fails on a full disk", coded(778), 4096, true},
		{"a write fails with room", coded(778), 1 << 30, false},
		{"a read fails with room", coded(266), 1 << 30, false},
		{"a damaged file on a full disk", coded(11), 0, false},
		{"no database on a full disk", coded(26), 0, false},
		{"another error on a full disk", errors.New("other"), 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := WrapFull("/data", tc.err, func(string) (int64, int64, error) { return tc.free, 1 << 40, nil })
			var full *FullError
			if errors.As(err, &full) != tc.full || !errors.Is(err, tc.err) {
				t.Fatalf("%v", err)
			}
			if !tc.full {
				return
			}
			if text := err.Error(); strings.Contains(text, "damaged") || strings.Contains(text, "restore") ||
				!strings.Contains(text, "the data is safe") {
				t.Errorf("it says %q", text)
			}
			if !IsFull(err) {
				t.Error("it isn't known as a full disk")
			}
		})
	}
	if err := WrapFull("/data", nil, nil); err != nil {
		t.Error(err)
	}
	if err := WrapFull("/data", coded(4874), func(string) (int64, int64, error) {
		return 0, 0, errors.New("no such system call")
	}); !strings.Contains(err.Error(), "is full;") {
		t.Error(err)
	}
}
