package segment

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// open writes a segment and opens it.
func open(b *testing.B, inputs []Input, kinds map[int]Kind, cache *Cache) *Segment {
	b.Helper()
	path := filepath.Join(b.TempDir(), "segment")
	if _, err := Write(path, nil, inputs, Options{}); err != nil {
		b.Fatal(err)
	}
	s, err := Open(path, kinds, cache)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkWrite writes both runs of a million links, with their indexes, filters and sets.
func BenchmarkWrite(b *testing.B) {
	const links = 1_000_000
	s := sampleOf(b, links, false)
	for _, workers := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("%d workers", workers), func(b *testing.B) {
			for b.Loop() {
				start := time.Now()
				info, err := Write(filepath.Join(b.TempDir(), "segment"), nil, s.inputs(), Options{workers: workers})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(links/time.Since(start).Seconds(), "links/s")
				b.ReportMetric(float64(info.Bytes)/links, "B/link")
			}
		})
	}
}

// BenchmarkFind looks up entries in a file of a million links, with a cache that holds all of it or nearly nothing.
func BenchmarkFind(b *testing.B) {
	sm := sampleOf(b, 1_000_000, false)
	for _, c := range []struct {
		name string
		size int64
	}{{"cached", 1 << 30}, {"cold", 1 << 19}} {
		s := open(b, sm.inputs(), sampleKinds, NewCache(c.size))
		for id, e := range map[int]*entries{1: sm.target, 2: sm.record} {
			r, name := s.runs[id], []string{"", "target", "record"}[id]
			b.Run(name+"/hit/"+c.name, func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					key := e.some(i)
					if _, ok, err := r.Find(key, 0); !ok || err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(name+"/once/"+c.name, func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					if _, ok, err := r.Find(e.some(i), lsm.Once); !ok || err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(name+"/excluded by the filter/"+c.name, func(b *testing.B) {
				passed := 0
				for i := 0; b.Loop(); i++ {
					if r.MayContain(uint64(i)*0x9e3779b97f4a7c15, e.some(i)) {
						passed++
					}
				}
				b.ReportMetric(float64(passed)*100/float64(b.N), "%passed")
			})
		}
		b.Run("record/excluded by the minute/"+c.name, func(b *testing.B) {
			key := append(appendID(appendID(nil, 1), 1), 1, 0, 0, 0, 0, 0, 0, 0, 1)
			h := recordKind.Keyspace.Hash(key)
			for b.Loop() {
				if s.runs[2].MayContain(h, key) {
					b.Fatal("not excluded")
				}
			}
		})
	}
}

// BenchmarkRow compares reads of rows of blocks without SQL, as weft does it, with queries of SQLite, and opens a file.
func BenchmarkRow(b *testing.B) {
	sm := sampleOf(b, 300_000, false)
	s := open(b, sm.inputs(), sampleKinds, NewCache(0))
	n := s.runs[2].head.Blocks + s.runs[2].head.First - 1
	b.Run("pread", func(b *testing.B) {
		for i := int64(0); b.Loop(); i++ {
			if err := s.runs[1].readRow(tableBlocks, 1+i*7919%n, func([]byte) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("SQL", func(b *testing.B) {
		db, err := openReadOnly(s.path)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		query, err := db.Prepare("SELECT data FROM blocks WHERE id = ?")
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = query.Close() }()
		for i := int64(0); b.Loop(); i++ {
			var row sql.RawBytes
			rows, err := query.Query(1 + i*7919%n)
			if err != nil || !rows.Next() || rows.Scan(&row) != nil || rows.Close() != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			other, err := Open(s.path, sampleKinds, NewCache(0))
			if err != nil {
				b.Fatal(err)
			}
			_ = other.Close()
		}
	})
}

// longList returns a list of links from random accounts of 20 million, with short lists around it.
func longList(links int) (prefix []byte, e *entries) {
	r := rand.New(rand.NewPCG(1, 2))
	var all []entry
	for t := range uint64(5) {
		prefix := appendID(append(appendID([]byte{1}, 1000+t), 0), 7)
		n := 10
		if t == 2 {
			n = links
		}
		for range n {
			us := 1_767_225_600_000_000 + r.Uint64N(86_400_000_000)
			key := appendID(binary.BigEndian.AppendUint64(append([]byte{}, prefix...), ^us), r.Uint64N(20_000_000))
			key = binary.BigEndian.AppendUint64(append(key, 1), us<<10+r.Uint64N(1024))
			all = append(all, entry{key, []byte{1}})
		}
	}
	return appendID(append(appendID([]byte{1}, 1002), 0), 7), sorted(all)
}

// BenchmarkList measures the length, the first page and the members of a list.
func BenchmarkList(b *testing.B) {
	for _, links := range []int{10, 100_000, 1_000_000} {
		prefix, e := longList(links)
		after := lsm.PrefixEnd(prefix)
		for _, c := range []struct {
			name string
			size int64
		}{{"cached", 1 << 30}, {"cold", 1}} {
			s := open(b, []Input{{1, targetKind, e.again()}}, sampleKinds, NewCache(c.size))
			r := s.runs[1]
			name := fmt.Sprintf("of %d/%s", links, c.name)
			b.Run(name+"/sum", func(b *testing.B) {
				for b.Loop() {
					if n, err := r.Sum(prefix, after); n != int64(links) || err != nil {
						b.Fatal(n, err)
					}
				}
			})
			b.Run(name+"/page", func(b *testing.B) {
				for b.Loop() {
					w, err := r.Iterate(prefix, after, false)
					for i, more := 1, true; i < 100 && more && err == nil; i++ {
						more, err = w.Next()
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(name+"/distinct", func(b *testing.B) {
				for b.Loop() {
					var all distinct.Set
					set, ok, err := r.Distinct(prefix)
					if err != nil {
						b.Fatal(err)
					}
					if ok {
						all.Merge(set)
					}
					_ = all.Count()
				}
				if set, ok, _ := r.Distinct(prefix); ok {
					b.ReportMetric(float64(set.Memory())/float64(links), "B/link")
				}
			})
		}
	}
}

// BenchmarkScan iterates over a whole run, as compactions do.
func BenchmarkScan(b *testing.B) {
	sm := sampleOf(b, 1_000_000, false)
	s := open(b, sm.inputs(), sampleKinds, NewCache(0))
	for b.Loop() {
		start, n := time.Now(), 0
		w, err := s.Run(1).Iterate(nil, nil, false)
		for more := true; more && err == nil; more, err = w.Next() {
			n++
		}
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "links/s")
	}
}
