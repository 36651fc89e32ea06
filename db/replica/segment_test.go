package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// sqliteLike is a file that has a SQLite header and else pages of anything: some that pack well, some that don't.
func sqliteLike(t *testing.T, pageSize, pages int, seed uint64) string {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	b := make([]byte, pageSize*pages)
	for i := 0; i < pages; i += 2 {
		_, _ = rng.Read(b[i*pageSize : (i+1)*pageSize])
	}
	copy(b, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(b[16:], uint16(pageSize%65535)) // 65,536 is 1
	path := filepath.Join(t.TempDir(), "1-2-ABC.weft")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// fileConfig is a replica in a directory.
func fileConfig(t *testing.T) config.Config {
	t.Helper()
	return config.Config{Type: "file", Path: filepath.Join(t.TempDir(), "replica"),
		DB: filepath.Join(t.TempDir(), "weft.db")}
}

func TestSegmentRoundTrip(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name            string
		pageSize, pages int
	}{{"small pages", 512, 9}, {"one page", 4096, 1}, {"usual pages", 4096, 300}, {"the largest pages", 65536, 3}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			src := sqliteLike(t, tc.pageSize, tc.pages, uint64(tc.pages))
			client, err := fileConfig(t).Client(config.SegmentSub(filepath.Base(src)))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := Upload(t.Context(), client, src, nil); err != nil || n == 0 {
				t.Fatalf("%d bytes, %v", n, err)
			}
			if n, err := Upload(t.Context(), client, src, nil); err != nil || n != 0 {
				t.Errorf("sent again: %d bytes, %v", n, err)
			}
			dst := filepath.Join(t.TempDir(), "back.weft")
			n, err := restore.FetchDatabase(t.Context(), client, dst)
			if err != nil || n != int64(tc.pageSize*tc.pages) {
				t.Fatalf("%d bytes, %v", n, err)
			}
			want, _ := os.ReadFile(src)
			if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, want) {
				t.Errorf("other bytes came back (%v)", err)
			}
		})
	}
}

func TestUploadRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		bytes []byte
	}{{"nothing", nil}, {"text", []byte("not a database, and longer than a header")},
		{"half a page", append([]byte("SQLite format 3\x00\x10\x00"), make([]byte, 100)...)}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.weft")
			if err := os.WriteFile(path, tc.bytes, 0o644); err != nil {
				t.Fatal(err)
			}
			client, err := fileConfig(t).Client("segments/x.weft")
			if err != nil {
				t.Fatal(err)
			}
			if n, err := Upload(t.Context(), client, path, nil); err == nil {
				t.Errorf("%d bytes were uploaded", n)
			}
			if _, ok, err := restore.Uploaded(t.Context(), client); ok || err != nil {
				t.Errorf("something is there: %v, %v", ok, err)
			}
		})
	}
}

// TestFetchDamaged flips each of some bytes in the replica: no file comes of it.
func TestFetchDamaged(t *testing.T) {
	t.Parallel()
	src := sqliteLike(t, 512, 8, 1)
	c := fileConfig(t)
	client, err := c.Client("segments/x.weft")
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "back.weft")
	if _, err := restore.FetchDatabase(t.Context(), client, dst); !errors.Is(err, restore.ErrAbsent) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := Upload(t.Context(), client, src, nil); err != nil {
		t.Fatal(err)
	}
	objects, err := filepath.Glob(filepath.Join(c.Path, "segments", "x.weft", "*", "*", "*.ltx"))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%v, %v", objects, err)
	}
	whole, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/200 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x10
		if err := os.WriteFile(objects[0], damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := restore.FetchDatabase(t.Context(), client, dst); err == nil {
			t.Errorf("byte %d of %d: a file came back", at, len(whole))
		}
	}
	for n := 0; n < len(whole); n += 1 + max(0, len(whole)-n-300)/9 { // each of the last
		if err := os.WriteFile(objects[0], whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := restore.FetchDatabase(t.Context(), client, dst); err == nil {
			t.Errorf("of %d bytes of %d a file came back", n, len(whole))
		}
	}
	if left, err := filepath.Glob(dst + "*"); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
