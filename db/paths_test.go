package db_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// TestLongPaths: a path of a link's source is kept once in weft.db and once in the index by name, so that a link with a
// path of its own that is a kilobyte long, which any author can write, takes less than three times that.
func TestLongPaths(t *testing.T) {
	t.Parallel()
	const links, length = 500, 1000
	dir := t.TempDir()
	s := openWith(t, db.Config{Dir: dir, SealBytes: 256 << 10})
	r := rand.New(rand.NewPCG(1, 2))
	for n := range links / 50 {
		var batch []apply.Event
		for i := range 50 {
			path := make([]byte, length)
			for j := range path {
				path[j] = byte('!' + r.IntN(90)) // doesn't compress
			}
			seq := uint64(n*50 + i + 1)
			batch = append(batch, apply.Event{Seq: seq, TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
				DID: "did:plc:author", Collection: "com.example.paths",
				Rkey: fmt.Sprint("key-", seq), Rev: "3m2qrrgw22222", Links: []db.Link{{Path: string(path),
					Target: "https://example.com/"}}})
		}
		if _, err := s.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var disk int64
	for _, pattern := range []string{"weft.db*", "segments/*.weft"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			disk += info.Size()
		}
	}
	if perLink := disk / links; perLink > 3*length {
		t.Errorf("a link with a path of %d bytes takes %d bytes of disk", length, perLink)
	} else {
		t.Logf("%d bytes of disk a link", perLink)
	}
}
