package segment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft.dev/weft/db/lsm"
)

// BenchmarkCold reports the bytes that a look-up by record reads from the disk: with the filter (find) and without it
// (likely). The block cache is too small for the file, and the page cache has nothing of it. It also reports what part
// of the file an iteration over the run by target reads. The bytes don't depend on the disk's speed or cache.
//
//	go test ./db/segment -run '^$' -bench Cold -benchtime 1x
func BenchmarkCold(b *testing.B) {
	const links, finds = 1_000_000, 500
	path := filepath.Join(b.TempDir(), "1")
	sm := sampleOf(b, links, false)
	info, err := Write(path, nil, sm.inputs(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(path, sampleKinds, NewCache(64<<10))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	all := sm.inputs()[1].Entries.(*entries)
	tree := lsm.Tree{Keyspace: sampleKinds[2].Keyspace, Runs: []lsm.Run{s.runs[2]}}
	for b.Loop() {
		for unit, hint := range map[string]lsm.Hint{"B/find": 0, "B/likely": lsm.Likely} {
			before := readBytes(b)
			for i := range finds {
				dropPages(b, path)
				if _, ok, err := tree.Find(all.some(i*2000/finds), hint); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
			b.ReportMetric(float64(readBytes(b)-before)/finds, unit)
		}
		dropPages(b, path)
		before := readBytes(b)
		w, err := s.runs[1].Iterate(nil, nil, false)
		for more := true; more && err == nil; more, err = w.Next() {
		}
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(readBytes(b)-before)/float64(info.Bytes), "of-the-file/scan")
	}
}

// dropPages removes a file from the page cache.
func dropPages(b *testing.B, path string) {
	b.Helper()
	f, err := os.Open(path)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
}

// readBytes returns how many bytes this process has read from disks.
func readBytes(b *testing.B) (n int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nread_bytes: ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		b.Fatal(err)
	}
	return n
}
