package disk_test

import (
	"bytes"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db/disk"
)

// TestRest: a rest takes as long as the transfer, within bounds.
func TestRest(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ took, want time.Duration }{
		{0, 0},
		{time.Millisecond, 0}, // an SSD
		{5 * time.Millisecond, 5 * time.Millisecond},
		{60 * time.Millisecond, 60 * time.Millisecond}, // a megabyte of a volume of 16 MiB/s
		{time.Minute, 250 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			disk.Rest(tc.took)
			if got := time.Since(begun); got != tc.want {
				t.Errorf("a rest of %s after a transfer of %s, want %s", got, tc.took, tc.want)
			}
		})
	}
}

// slowReader takes 60 ms for each read.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(b []byte) (int, error) {
	time.Sleep(60 * time.Millisecond)
	return s.r.Read(b)
}

// TestPacedReader: a reader of a slow disk leaves it half of the time, and reads the same.
func TestPacedReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		text := bytes.Repeat([]byte("a segment"), 10)
		begun := time.Now()
		var got []byte
		r := disk.PacedReader(slowReader{bytes.NewReader(text)})
		for b := make([]byte, 10); ; {
			n, err := r.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, text) {
			t.Errorf("read %q", got)
		}
		if took, want := time.Since(begun), 10*120*time.Millisecond; took != want { // 9 reads, and the end
			t.Errorf("read for %s, want %s", took, want)
		}
	})
}

// TestWriteback: a growing file is written to the disk after each megabyte.
func TestWriteback(t *testing.T) {
	t.Parallel()
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	calls := 0
	w := disk.Writeback{File: f, Write: func(f *os.File) {
		calls++
		disk.WriteDirty(f)
	}}
	page := make([]byte, 4096)
	for i := range 4 << 20 / len(page) {
		if calls != i*len(page)>>20 {
			t.Fatalf("%d calls after %d bytes", calls, i*len(page))
		}
		if _, err := f.Write(page); err != nil {
			t.Fatal(err)
		}
		w.Wrote(len(page))
	}
	if calls != 4 {
		t.Errorf("%d calls", calls)
	}
}
