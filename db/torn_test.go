package db_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// The WAL's format: a header, then frames, each a header and a page.
const (
	walHeader   = 32
	frameHeader = 24
)

// walOf is a directory whose owner was killed, with the batches that its WAL holds.
type walOf struct {
	world   world
	dir     string
	wal     []byte
	frame   int // its length
	events  []apply.Event
	batches []applied
}

// killedWithWAL makes a directory whose every commit lies in the WAL.
func killedWithWAL(t *testing.T, w world) walOf {
	t.Helper()
	k := walOf{world: w, dir: t.TempDir(), events: must(w.events())}
	l := live(t, child{World: w, Dir: k.dir, KillAtEnd: true, AwaitSeals: true}, nil)
	if !l.killed {
		t.Fatal("the child was not killed")
	}
	k.batches, k.wal = l.applied, must(os.ReadFile(filepath.Join(k.dir, "weft.db-wal")))
	k.frame = frameHeader + int(binary.BigEndian.Uint32(k.wal[8:]))
	if (len(k.wal)-walHeader)%k.frame != 0 {
		t.Fatalf("the WAL has %d bytes in frames of %d", len(k.wal), k.frame)
	}
	return k
}

// check opens a copy of the directory with another WAL, of which the first good bytes are as they were written: the
// index is that of the batches whose commits lie in them, and it goes on from there.
func (k walOf) check(t *testing.T, wal []byte, good int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	defer os.RemoveAll(dir) // there may be thousands
	if err := os.CopyFS(dir, os.DirFS(k.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "weft.db-wal"), wal, 0o644); err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	s, err := db.Open(k.world.config(dir, &clock))
	if err != nil {
		t.Errorf("not opened: %v", err)
		return
	}
	defer s.Close()
	// How many batches are in, at least and at most: a seal may have committed between a batch and the look at the
	// size.
	low, high := 0, 0
	for before := int64(0); high < len(k.batches) && before+int64(k.frame) <= int64(good); high++ {
		before = k.batches[high].wal
		if before <= int64(good) {
			low++
		}
	}
	if k.world.SealBytes == 0 {
		high = low
	}
	n := after(k.events, s.Cursor(crashHost))
	if in := (n + k.world.Batch - 1) / k.world.Batch; in < low || in > high {
		t.Errorf("the cursor is that of %d batches; at least %d are in, at most %d", in, low, high)
		return
	}
	if n > 0 && n != len(k.events) && n%k.world.Batch != 0 {
		t.Errorf("the cursor is at event %d, within a batch", n)
	}
	m := modelOf(k.events[:n])
	if err := m.Compare(t.Context(), s, sampled(50)); err != nil {
		t.Errorf("%d events: %v", n, err)
		return
	}
	if err := m.CompareBodies(t.Context(), s,
		func(db.Record) bool { return k.world.Bodies != db.BodiesKeep }); err != nil {
		t.Errorf("%d events: %v", n, err)
		return
	}
	next := k.events[n:min(n+k.world.Batch, len(k.events))]
	if _, err := s.Apply(db.Batch{Host: crashHost, Events: next}); err != nil {
		t.Errorf("after %d events, the next ones: %v", n, err)
	}
}

// TestTornWAL: a WAL that ends anywhere, as after a power cut, or that holds a wrong byte, is good up to there.
func TestTornWAL(t *testing.T) {
	notShort(t)
	t.Parallel()
	for _, tc := range []struct {
		name  string
		world world
	}{
		{"commits only", world{Sim: true, Seed: 5, Events: 900, Batch: 30, Window: -1}},
		{"a history", world{Seed: 7, Events: 600, Batch: 20, Window: -1, Bodies: db.BodiesKeep}},
		// A cut before a commit that enters a segment leaves a file that must not count, and the rows that it took over
		// are still in the log. There are fewer seals than make a merge: the files that a merge takes away would be
		// missing in a WAL cut before it, which can't happen to one that is synced at each commit.
		{"with segments", world{Sim: true, Seed: 6, Events: 1200, Batch: 30, SealBytes: 26 << 10, Window: -1,
			Bodies: db.BodiesKeep}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if fraction(2) > 1 && tc.name == "commits only" {
				t.Skip("with -thorough: the others have commits too")
			}
			t.Parallel()
			tornWAL(t, killedWithWAL(t, tc.world))
		})
	}
}

func tornWAL(t *testing.T, k walOf) {
	r := rand.New(rand.NewPCG(k.world.Seed, 5))
	frames := (len(k.wal) - walHeader) / k.frame
	if frames < 150 || len(k.batches) < 20 {
		t.Fatalf("%d frames and %d batches are too few", frames, len(k.batches))
	}
	if n := len(segmentFiles(t, k.dir)); k.world.SealBytes > 0 && (n < 3 || n > 7) {
		t.Fatalf("%d segments", n)
	}
	// Each frame's begin, and a byte to either side; by default of some frames only, among them some that begin after a
	// commit.
	var cuts, flips []int
	for i := range frames + 1 {
		at := walHeader + i*k.frame
		commit := slices.ContainsFunc(k.batches, func(b applied) bool { return int(b.wal) == at })
		if *soak > 0 || i == 0 || i == frames || r.IntN(frames) < 4/fraction(4) || commit &&
			r.IntN(len(k.batches)) < 4/fraction(4) {
			cuts = append(cuts, at-1, at, at+1)
			flips = append(flips, at+r.IntN(frameHeader), at+frameHeader+r.IntN(k.frame-frameHeader))
		}
	}
	cuts = append(cuts, 0, 1, walHeader/2)
	flips = append(flips, r.IntN(walHeader), r.IntN(walHeader))
	t.Logf("%d frames, %d batches, cut at %d points, %d wrong bytes", frames, len(k.batches), len(cuts), len(flips))
	for _, at := range cuts {
		at = min(at, len(k.wal))
		if k.check(t, k.wal[:at], at); t.Failed() {
			t.Fatalf("cut at %d of %d", at, len(k.wal))
		}
	}
	for _, at := range flips {
		if at >= len(k.wal) {
			continue
		}
		wal := slices.Clone(k.wal)
		wal[at] ^= 1 << r.IntN(8)
		good := 0
		if at >= walHeader {
			good = at - (at-walHeader)%k.frame // the frames before it
		}
		if k.check(t, wal, good); t.Failed() {
			t.Fatalf("wrong at %d of %d", at, len(k.wal))
		}
	}
}
