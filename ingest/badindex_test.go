package ingest_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
	"weft.dev/weft/ingest/upstream"
)

// TestBadIndexBecomesGap: a segment whose index is out of order becomes a recorded gap, and all other events are
// indexed, also after a restart.
func TestBadIndexBecomesGap(t *testing.T) {
	t.Parallel()
	const segment = 9000 // three blocks
	for _, tc := range []struct {
		name string
		hurt func(entry func(i int) []byte)
	}{
		{"two blocks in each other's place", func(entry func(i int) []byte) {
			first := slices.Clone(entry(0)[:8])
			copy(entry(0), entry(1)[:8])
			copy(entry(1), first)
		}},
		{"the last block before the first", func(entry func(i int) []byte) { binary.LittleEndian.PutUint64(entry(2), 300) }},
		{"a block of gigabytes", func(entry func(i int) []byte) { binary.LittleEndian.PutUint32(entry(0)[8:], 3900<<20) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			server := serve(t, sim.ServerConfig{Dir: dir, Backlog: segment + 2000, EventsPerSegment: segment,
				NetworkConfig: sim.NetworkConfig{Accounts: 300}})
			files, err := filepath.Glob(filepath.Join(dir, "seg_*.jss"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			slices.Sort(files)
			file, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			index := file[binary.LittleEndian.Uint64(file[90:]):]
			tc.hurt(func(i int) []byte { return index[i*52:] })
			if err := os.WriteFile(files[0], file, 0o600); err != nil {
				t.Fatal(err)
			}
			data := t.TempDir()
			for range 2 {
				store := openStore(t, data)
				f := follow(t, ingest.Config{Hosts: []upstream.Endpoint{{URL: server.URL()}}, Store: store,
					From: ingest.From{Start: true}})
				untilCaughtUp(t, store, server)
				f.stop()
				gaps, err := store.Gaps(t.Context())
				if err != nil || len(gaps) != 1 || gaps[0].From != 1 || gaps[0].To != segment || gaps[0].FromUS == 0 ||
					gaps[0].ToUS <= gaps[0].FromUS {
					t.Fatalf("gaps: %+v, %v", gaps, err)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
			}
			store := openStore(t, data)
			defer store.Close()
			var m dbtest.Model
			var r truth.Reader
			if err := server.Replay(1, func(e sim.Event) error {
				out, ok, err := r.Event(e)
				if ok && e.Seq > segment {
					m.Apply(out)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := m.Compare(t.Context(), store, dbtest.Depth{Page: 50}); err != nil {
				t.Error(err)
			}
		})
	}
}
