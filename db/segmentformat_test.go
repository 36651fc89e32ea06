package db_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/segment"
)

// replaceSegment puts a file in the place of the first segment, as the one that was written: the manifest has its
// checksum.
func replaceSegment(t *testing.T, dir string, change func(data []byte) []byte) (path string) {
	t.Helper()
	path = dbtest.SegmentPath(t, dir, 0)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = change(data)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	sum, err := segment.FileChecksum(path)
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Statements(fmt.Sprintf("UPDATE segments SET checksum = '%s', bytes = %d WHERE from_seq = 1", sum, len(data)))(t,
		dir)
	return path
}

// ofFormat sets the number of a segment's format, which is SQLite's user_version.
func ofFormat(n uint32) func([]byte) []byte {
	return func(data []byte) []byte {
		binary.BigEndian.PutUint32(data[60:], n)
		return data
	}
}

// hours is a segment of format 1 as a build wrote it before the format was final (db/testdata/frozen).
func hours(t *testing.T) func([]byte) []byte {
	t.Helper()
	packed, err := os.ReadFile("testdata/frozen/1-200-HOURS.weft.zst")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var data bytes.Buffer
	if _, err := z.WriteTo(&data); err != nil {
		t.Fatal(err)
	}
	return func([]byte) []byte { return data.Bytes() }
}

// TestSegmentFormats: a segment of a format that this weft doesn't read is refused by name and left as it is, with the
// way out, whether the log is whole or not; nothing is deleted or made again. The way out works.
func TestSegmentFormats(t *testing.T) {
	t.Parallel()
	whole := dbtest.Fixture(t)
	pruned := []string{"DELETE FROM links WHERE id >> 12 <= 500", "DELETE FROM records WHERE seq <= 500"}
	for _, tc := range []struct {
		name   string
		change func([]byte) []byte
		pruned bool
		want   []string
	}{
		{"a later number, whole log", ofFormat(4), false,
			[]string{"its format is 4, and this weft reads 1 to 3: run the weft version that wrote it, or a newer one",
				"move the directory"}},
		{"a later number, pruned log", ofFormat(4), true,
			[]string{"its format is 4", "no longer has the rows of the segment", "re-index"}},
		{"an older layout, whole log", hours(t), false,
			[]string{"format 1 of a development build", "move the directory"}},
		{"an older layout, pruned log", hours(t), true,
			[]string{"format 1 of a development build", "re-index"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			path := replaceSegment(t, dir, tc.change)
			if tc.pruned {
				dbtest.Statements(pruned...)(t, dir)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := db.Open(db.Config{Dir: dir})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			for _, want := range append(tc.want, filepath.Base(path)) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("refused with %q, want %q in it", err, want)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the segment was changed, %v", err)
			}
			dbtest.SegmentPath(t, dir, 1)
			f, err := db.OpenFollower(db.FollowerConfig{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := f.Refresh(t.Context()); !errors.Is(err, segment.ErrFormat) {
				t.Errorf("followed with %v", err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if tc.pruned {
				return
			}
			if err := os.Rename(filepath.Join(dir, "segments"), filepath.Join(t.TempDir(), "away")); err != nil {
				t.Fatal(err)
			}
			if s, err = db.Open(db.Config{Dir: dir}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestDamagedFormat: where a segment's number is wrong by damage, the segment is lost, as its checksum says.
func TestDamagedFormat(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	dbtest.Flip(t, dbtest.SegmentPath(t, dir, 0), 62)
	dbtest.Statements("DELETE FROM links WHERE id >> 12 <= 500", "DELETE FROM records WHERE seq <= 500")(t, dir)
	s, err := db.Open(db.Config{Dir: dir})
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, index.ErrLost) || !strings.Contains(err.Error(), "weft restore --segments --force") {
		t.Errorf("opened with %v", err)
	}
}
