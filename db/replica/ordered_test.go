package replica

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/litestream"

	"weft.dev/weft/db/disk"
)

// slowFile is on a disk whose reads take 60 ms.
type slowFile struct{ io.Reader }

func (s slowFile) Read(b []byte) (int, error) {
	time.Sleep(60 * time.Millisecond)
	return s.Reader.Read(b)
}

// TestPacedLevels: a compaction of a level leaves a slow disk to commits. An upload of new transactions and a snapshot
// do not.
func TestPacedLevels(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		level int
		want  time.Duration // of one read, and of the end
	}{
		{"new transactions", 0, 120 * time.Millisecond},
		{"the first level", 1, 240 * time.Millisecond},
		{"the last level", litestream.SnapshotLevel - 1, 240 * time.Millisecond},
		{"a snapshot", litestream.SnapshotLevel, 120 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &Replicator{cfg: ReplicatorConfig{Pacer: &disk.Pacer{}}}
				begun := time.Now()
				got, err := io.ReadAll(r.paced(tc.level, slowFile{bytes.NewReader([]byte("pages"))}))
				if took := time.Since(begun); err != nil || string(got) != "pages" || took != tc.want {
					t.Errorf("%q, %v in %s, want %s", got, err, took, tc.want)
				}
			})
		})
	}
}
