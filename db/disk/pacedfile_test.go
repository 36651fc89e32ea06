package disk

import (
	"bytes"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestPacedFile: a paced file has the content that was written. It rests after each megabyte that a slow disk writes.
func TestPacedFile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		pacer *Pacer
		want  time.Duration // for two megabytes and a half
	}{
		{"with a pacer", &Pacer{}, 2 * 120 * time.Millisecond},
		{"without one", nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file, err := os.Create(t.TempDir() + "/file")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			page := bytes.Repeat([]byte("page"), 1024)
			synctest.Test(t, func(t *testing.T) {
				f := tc.pacer.File(file)
				f.writeback.Write = func(*os.File) error {
					time.Sleep(60 * time.Millisecond)
					return nil
				}
				begun := time.Now()
				for i := range int64(640) {
					if _, err := f.WriteAt(page, (639-i)*int64(len(page))); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(begun); took != tc.want {
					t.Errorf("written in %s, want %s", took, tc.want)
				}
			})
			got, err := os.ReadFile(file.Name())
			if err != nil || !bytes.Equal(got, bytes.Repeat(page, 640)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}
