package index

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

var benchNames = flag.Int("names", 1_000_000, "the number of names of BenchmarkNames")

// plcDID returns the n-th of a sequence of DIDs like those of the network: 120 random bits.
func plcDID(n int) string {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	did := []byte("did:plc:")
	for range 24 {
		did = append(did, "234567abcdefghijklmnopqrstuvwxyz"[r.IntN(32)])
	}
	return string(did)
}

// sortedNames is a run of names from memory. It implements segment.Entries.
type sortedNames struct {
	keys []string
	ids  map[string]uint64
	at   int
}

func (s *sortedNames) Next() (bool, error) { s.at++; return s.at <= len(s.keys), nil }
func (s *sortedNames) Key() []byte         { return []byte(s.keys[s.at-1]) }
func (s *sortedNames) Value() []byte       { return codec.AppendID(nil, s.ids[s.keys[s.at-1]]) }

// writeNames writes the names from to to, whose ids are their numbers and one, into a segment.
func writeNames(tb testing.TB, from, to int) (path string, info segment.Info) {
	tb.Helper()
	s := &sortedNames{ids: map[string]uint64{}}
	for n := from; n < to; n++ {
		key := string(codec.DIDKey(plcDID(n)))
		s.keys = append(s.keys, key)
		s.ids[key] = uint64(n + 1)
	}
	slices.Sort(s.keys)
	path = filepath.Join(tb.TempDir(), fmt.Sprintf("%d.weft", from))
	info, err := segment.Write(path, nil, []segment.Input{{ID: RunNames, Kind: RunKinds[RunNames], Entries: s}},
		segment.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return path, info
}

// BenchmarkNames looks accounts up by name, as the writer does outside its cache of ids: in a segment with 9 of 10
// names, seven with a tenth of the rest each, and three with a hundredth each. A miss is a new account.
func BenchmarkNames(b *testing.B) {
	blocks := segment.NewCache(32 << 20) // the default of --cache
	n := *benchNames
	tree := lsm.Tree{Keyspace: &ByName}
	bytes := int64(0)
	ends := []int{0, n * 90 / 100}
	for i := range 7 {
		ends = append(ends, n*(91+i)/100)
	}
	for i := range 3 {
		ends = append(ends, n*97/100+n*(i+1)/1000)
	}
	for i := range ends[1:] {
		path, info := writeNames(b, ends[i], ends[i+1])
		s, err := segment.Open(path, RunKinds, blocks)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		tree.Runs = append(tree.Runs, s.Run(RunNames))
		bytes += info.Bytes
	}
	v := Snapshot{Names: tree}
	names := ends[len(ends)-1]
	b.Run("hit", func(b *testing.B) {
		r := rand.New(rand.NewPCG(1, 2))
		keys := make([][]byte, 1<<17)
		for i := range keys {
			keys[i] = codec.DIDKey(plcDID(r.IntN(names)))
		}
		for i := 0; b.Loop(); i++ {
			if _, ok, err := v.ID(keys[i&(len(keys)-1)]); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
		b.ReportMetric(float64(bytes)/float64(names), "B/name")
		b.ReportMetric(float64(tree.Memory())/float64(names), "B/name-in-memory")
	})
	b.Run("miss", func(b *testing.B) {
		keys := make([][]byte, 1<<17)
		for i := range keys {
			keys[i] = codec.DIDKey(plcDID(n + 1 + i))
		}
		for i := 0; b.Loop(); i++ {
			if _, ok, err := v.ID(keys[i&(len(keys)-1)]); ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}
