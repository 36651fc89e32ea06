package disk_test

import (
	"errors"
	"os"
	"testing"

	"weft.dev/weft/db/disk"
)

// TestWriteback: a growing file is written to the disk after each megabyte.
func TestWriteback(t *testing.T) {
	t.Parallel()
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	calls := 0
	w := disk.Writeback{File: f, Write: func(f *os.File) error {
		calls++
		return disk.WriteDirty(f)
	}}
	page := make([]byte, 4096)
	for i := range 4 << 20 / len(page) {
		if calls != i*len(page)>>20 {
			t.Fatalf("%d calls after %d bytes", calls, i*len(page))
		}
		if _, err := f.Write(page); err != nil {
			t.Fatal(err)
		}
		if err := w.Wrote(len(page)); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 4 {
		t.Errorf("%d calls", calls)
	}
	full := errors.New("no space")
	w.Write = func(*os.File) error { return full }
	if err := w.Wrote(1 << 20); !errors.Is(err, full) {
		t.Errorf("the error of the disk is lost: %v", err)
	}
}
