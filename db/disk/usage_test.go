package disk_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft.dev/weft/db/disk"
)

// TestUsage: all files below the directory count, and the room for a copy of weft.db counts whether it is there or not.
// The sum is believed for two seconds, unless it is forgotten.
func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	scratch := filepath.Join(dir, "scratch")
	write := func(bytes int, path ...string) {
		t.Helper()
		name := filepath.Join(append([]string{dir}, path...)...)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, make([]byte, bytes), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(1000, "weft.db")
	write(300, "segments", "1.seg")
	now := time.Unix(1_770_000_000, 0)
	u := disk.NewUsage(dir, scratch)
	bytes := func(what string, want int64) {
		t.Helper()
		n, err := u.Bytes(now)
		if err != nil || n != want {
			t.Errorf("%s: %d bytes (%v), want %d", what, n, err, want)
		}
	}
	bytes("without a copy", 2300)
	write(400, "scratch", "weft.db")
	write(50, "segments", "2.seg")
	bytes("within two seconds", 2300)
	u.Forget()
	bytes("half a copy", 2350)
	write(1100, "scratch", "weft.db")
	now = now.Add(2 * time.Second)
	bytes("a copy that is larger than weft.db", 2450)

	if n, err := disk.NewUsage(dir, "").Bytes(now); err != nil || n != 2450 {
		t.Errorf("without a scratch directory: %d bytes (%v)", n, err)
	}
	if _, err := disk.NewUsage(filepath.Join(dir, "missing"), scratch).Bytes(now); err == nil {
		t.Error("a copy of a weft.db that is missing has a size")
	}
}
