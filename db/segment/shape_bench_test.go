package segment

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// BenchmarkShape measures the effect of the Options: bytes per link of each run, in a file of its own, the
// speed of writing, and a look-up that finds nothing in the cache:
//
//	go test ./db/segment -run '^$' -bench Shape -benchtime 1x -timeout 1h
func BenchmarkShape(b *testing.B) {
	type shape struct {
		block, page int
		level       zstd.EncoderLevel
		tails       bool
	}
	var shapes []shape
	for _, block := range []int{4 << 10, 8 << 10, 16 << 10, 32 << 10} {
		for _, page := range []int{4 << 10, 8 << 10, 16 << 10} {
			shapes = append(shapes, shape{block, page, zstd.SpeedDefault, false})
		}
	}
	shapes = append(shapes,
		shape{8 << 10, 4 << 10, zstd.SpeedFastest, false},
		shape{8 << 10, 4 << 10, zstd.SpeedBetterCompression, false},
		shape{8 << 10, 4 << 10, zstd.SpeedBestCompression, false},
		shape{8 << 10, 4 << 10, zstd.SpeedDefault, true},
		shape{16 << 10, 4 << 10, zstd.SpeedDefault, true})
	for _, links := range []int{250_000, 1_000_000} {
		for _, sh := range shapes {
			name := fmt.Sprintf("links=%dk/block=%dk/page=%dk/%s", links/1000, sh.block>>10, sh.page>>10, sh.level)
			if sh.tails {
				name += "/tails"
			}
			b.Run(name, func(b *testing.B) {
				s := sampleOf(b, links, sh.tails)
				o := Options{blockSize: sh.block, pageSize: sh.page, level: sh.level}
				for b.Loop() {
					start := time.Now()
					for i, in := range s.inputs() {
						path := filepath.Join(b.TempDir(), "segment")
						info, err := Write(path, nil, []Input{in}, o)
						if err != nil {
							b.Fatal(err)
						}
						name := []string{"target", "record"}[i]
						b.ReportMetric(float64(info.Bytes)/float64(links), name+"-B/link")
						b.ReportMetric(coldFind(b, path, in), name+"-cold-µs")
						if err := os.Remove(path); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(links)/time.Since(start).Seconds(), "links/s")
				}
			})
		}
	}
}

// coldFind returns the time of a look-up whose data block is not in the cache, in microseconds.
func coldFind(b *testing.B, path string, in Input) float64 {
	b.Helper()
	s, err := Open(path, map[int]Kind{in.ID: in.Kind}, NewCache(1<<20))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r, all := s.runs[in.ID], in.Entries.(*entries)
	const n = 2000
	var took time.Duration
	for i := range n {
		key := all.some(i)
		start := time.Now()
		_, ok, err := r.Find(key, 0)
		took += time.Since(start)
		if !ok || err != nil {
			b.Fatalf("%x: %t, %v", key, ok, err)
		}
	}
	return float64(took.Nanoseconds()) / n / 1000
}

// BenchmarkTable compares weft's own index over numbered rows with SQLite's indexes over keys: the blocks of the
// target run of a million links in a table with an index, and in one WITHOUT ROWID. A look-up decodes the block.
func BenchmarkTable(b *testing.B) {
	sm, dir := sampleOf(b, 1_000_000, false), b.TempDir()
	for _, size := range []int{4 << 10, 8 << 10} {
		for _, page := range []int{4 << 10, 16 << 10} {
			o := Options{blockSize: size, pageSize: page}
			path := filepath.Join(dir, fmt.Sprint("own", size, page))
			in := sm.inputs()[0]
			if _, err := Write(path, nil, []Input{in}, o); err != nil {
				b.Fatal(err)
			}
			shape := fmt.Sprintf("block=%dk/page=%dk/", size>>10, page>>10)
			b.Run(shape+"own index", func(b *testing.B) {
				var took float64
				for b.Loop() {
					took = coldFind(b, path, in)
				}
				b.ReportMetric(took, "cold-µs")
				b.ReportMetric(float64(bytesOf(b, path, "blocks", "nodes"))/1e6, "B/link")
			})
			for name, create := range map[string]string{
				"index of SQLite": "CREATE TABLE t (id INTEGER PRIMARY KEY, key BLOB, weight INTEGER, data BLOB);" +
					"CREATE UNIQUE INDEX t_key ON t (key, weight)",
				"WITHOUT ROWID": "CREATE TABLE t (key BLOB PRIMARY KEY, weight INTEGER, data BLOB) WITHOUT ROWID",
			} {
				b.Run(shape+name, func(b *testing.B) {
					other := filepath.Join(b.TempDir(), "other")
					db := copyBlocks(b, path, other, page, create)
					find, err := db.Prepare("SELECT data FROM t WHERE key <= ? ORDER BY key DESC LIMIT 1")
					if err != nil {
						b.Fatal(err)
					}
					for i := 0; b.Loop(); i++ {
						var row []byte
						if err := find.QueryRow(sm.target.some(i)).Scan(&row); err != nil {
							b.Fatal(err)
						}
						if _, err := decodeBlock(row[sumSize:]); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "cold-µs")
					b.ReportMetric(float64(bytesOf(b, other, "t", "t_key"))/1e6, "B/link")
				})
			}
		}
	}
}

// copyBlocks copies the data blocks of a file into another table, with their first keys.
func copyBlocks(b *testing.B, from, to string, page int, create string) *sql.DB {
	b.Helper()
	s, err := Open(from, sampleKinds, NewCache(0))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	db, err := sql.Open("sqlite", to)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(fmt.Sprintf("PRAGMA page_size = %d; PRAGMA journal_mode = OFF; PRAGMA cache_size = -64;", page) +
		create + "; BEGIN"); err != nil {
		b.Fatal(err)
	}
	r, h := s.runs[1], s.runs[1].head
	for id := h.First; id < h.First+h.Blocks; id++ {
		first, err := r.readBlock(tableBlocks, id)
		if err != nil {
			b.Fatal(err)
		}
		err = r.readRow(tableBlocks, id, func(data []byte) error {
			row := append(make([]byte, sumSize), data...)
			_, err := db.Exec("INSERT INTO t (key, weight, data) VALUES (?, ?, ?)", first.Key(0), id*300, row)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if _, err := db.Exec("COMMIT"); err != nil {
		b.Fatal(err)
	}
	return db
}

// bytesOf returns the size of tables and indexes in a file, in bytes.
func bytesOf(b *testing.B, path string, names ...string) (n int64) {
	b.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, name := range names {
		var size sql.NullInt64
		if err := db.QueryRow("SELECT sum(pgsize) FROM dbstat WHERE name = ?", name).Scan(&size); err != nil {
			b.Fatal(err)
		}
		n += size.Int64
	}
	return n
}
