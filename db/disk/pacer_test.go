package disk_test

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db/disk"
)

// TestRest: a rest takes as long as the transfer, and longer during a commit, within bounds.
func TestRest(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tc := range []struct {
		name               string
		took, commit, want time.Duration
	}{
		{"nothing", 0, 0, 0},
		{"an SSD", ms, 0, 0},
		{"an SSD during a commit", ms, time.Hour, 0},
		{"the least", 5 * ms, 0, 5 * ms},
		{"a megabyte of a volume of 16 MiB/s", 60 * ms, 0, 60 * ms},
		{"a stuck disk", time.Minute, 0, 250 * ms},
		{"a commit that ends during the rest", 60 * ms, 50 * ms, 60 * ms},
		{"a commit that ends after it", 60 * ms, 200 * ms, 200 * ms},
		{"a long commit", 60 * ms, time.Hour, 300 * ms},
		{"a long commit of a stuck disk", time.Minute, time.Hour, 1250 * ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var p disk.Pacer
				if tc.commit > 0 {
					p.BeginCommit()
					go func() {
						time.Sleep(tc.commit)
						p.EndCommit()
					}()
				}
				begun := time.Now()
				p.Rest(tc.took)
				if got := time.Since(begun); got != tc.want {
					t.Errorf("a rest of %s, want %s", got, tc.want)
				}
				time.Sleep(max(tc.commit-time.Since(begun), 0))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a batch and a filled gap may overlap
		var p disk.Pacer
		p.BeginCommit()
		p.BeginCommit()
		p.EndCommit()
		begun := time.Now()
		p.Rest(10 * ms)
		if got := time.Since(begun); got != 50*ms {
			t.Errorf("a rest of %s during the second commit", got)
		}
		p.EndCommit()
		begun = time.Now()
		p.Rest(10 * ms)
		if got := time.Since(begun); got != 10*ms {
			t.Errorf("a rest of %s after both", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var none *disk.Pacer
		none.BeginCommit()
		none.EndCommit()
		begun := time.Now()
		none.Rest(time.Minute)
		if time.Since(begun) > 0 {
			t.Error("a nil Pacer rests")
		}
	})
}

// slowReader reads from a volume of 16 MiB/s.
type slowReader struct{ r io.Reader }

func (s slowReader) Read(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Second / (16 << 20))
	return s.r.Read(b)
}

// TestPacedReader: a reader of a slow disk leaves it half of the time, waits for little at once, and reads the same.
func TestPacedReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		text := bytes.Repeat([]byte("a segment of a megabyte"), 1<<20/23)
		begun := time.Now()
		var p disk.Pacer
		var got bytes.Buffer
		_, err := io.CopyBuffer(struct{ io.Writer }{&got}, p.Reader(slowReader{bytes.NewReader(text)}), make([]byte, 1<<20))
		if err != nil || !bytes.Equal(got.Bytes(), text) {
			t.Errorf("read %d bytes, %v", got.Len(), err)
		}
		if took, want := time.Since(begun), 5*2*time.Second/64; took != want { // four reads, and the end
			t.Errorf("read for %s, want %s", took, want)
		}
	})
}
