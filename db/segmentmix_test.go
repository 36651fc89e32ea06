package db_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// segmentFormats returns the formats of the segments of an index.
func segmentFormats(t *testing.T, dir string) (formats []uint32) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "segments", "*.weft"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		formats = append(formats, binary.BigEndian.Uint32(data[60:]))
	}
	slices.Sort(formats)
	return slices.Compact(formats)
}

// oddDIDs are DIDs of every method, among them some that are nearly a did:plc.
func oddDIDs(r *rand.Rand) string {
	text := make([]byte, 24+r.IntN(3)-1)
	for i := range text {
		text[i] = "234567abcdefghijklmnopqrstuvwxyz"[r.IntN(32)]
	}
	switch r.IntN(6) {
	case 0:
		return "did:web:" + string(text) + ".example"
	case 1:
		return "did:plc:" + strings.ToUpper(string(text))
	case 2:
		text[r.IntN(len(text))] = "0189A"[r.IntN(5)]
	}
	return "did:plc:" + string(text)
}

// mixedEvents are links from new accounts to new accounts, after a cursor.
func mixedEvents(r *rand.Rand, cursor uint64) (events []apply.Event) {
	for i := range 400 {
		us := 1_780_000_000_000_000 + int64(i)*1_000_000
		events = append(events, apply.Event{Seq: cursor + uint64(i) + 1, TimeUS: us, Op: db.OpCreate, DID: oddDIDs(r),
			Rev: string(link.AppendTID(nil, uint64(us)<<10)), Collection: "app.bsky.graph.follow",
			Rkey:  fmt.Sprintf("mixed-%d", i),
			Links: []db.Link{{Path: "subject", Target: oddDIDs(r)}}})
	}
	return events
}

// TestMixedFormats: an index with segments of the format before this one takes new accounts into segments of this
// format, and holds the same before and after a compaction of all.
func TestMixedFormats(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"whole", "window", "bodies"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir, cursor, was := thaw(t, filepath.Join("testdata", "frozen", "schema10-"+kind+".tar.zst"))
			cfg := db.Config{Dir: dir, SealBytes: 32 << 10}
			for _, k := range frozenKinds {
				if k.name == kind {
					cfg.ReplayWindow, cfg.Bodies = k.cfg.ReplayWindow, k.cfg.Bodies
				}
			}
			events := mixedEvents(rand.New(rand.NewPCG(1, 1)), cursor)
			for range 2 { // the second time all names are known, in segments of both formats
				s := openWith(t, cfg)
				if _, err := s.Apply(db.Batch{Host: frozenHost, Events: events}); err != nil {
					t.Fatal(err)
				}
				for s.Sealing() {
					runtime.Gosched()
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				checkAll(t, dir)
			}
			if got := segmentFormats(t, dir); !slices.Equal(got, []uint32{2, 3}) {
				t.Errorf("the segments are of the formats %v", got)
			}
			mixed := frozenLines(t, dir)
			if len(mixed) != len(was)+len(events) {
				t.Errorf("it has %d links, and had %d and %d more", len(mixed), len(was), len(events))
			}
			s := openWith(t, cfg)
			if _, err := s.Compact(t.Context(), func(int64, int64) {}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			checkAll(t, dir)
			if got := frozenLines(t, dir); !slices.Equal(got, mixed) {
				t.Errorf("after a compaction it has %d links, and had %d", len(got), len(mixed))
			}
			if got := segmentFormats(t, dir); !slices.Equal(got, []uint32{3}) {
				t.Errorf("after a compaction the segments are of the formats %v", got)
			}
		})
	}
}
