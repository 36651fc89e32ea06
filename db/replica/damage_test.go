package replica

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/restore"
)

// replicaOf grows an index and answers its world, with its replica in a directory: three levels, snapshots, segments.
func replicaOf(t *testing.T, window time.Duration, batches int) *world {
	t.Helper()
	w := newWorld(t, fileConfig(t), 4, window)
	w.grow(batches)
	w.stop()
	return w
}

// object is the path of a file in a replica that is a directory.
func (w *world) object(dir string, f restore.File) string {
	return filepath.Join(dir, "ltx", string(rune('0'+f.Level)), ltx.FormatFilename(f.Min, f.Max))
}

// TestVerify: a good replica is ok; a flipped byte in any kind of object, and one that is missing, is failed and named;
// where the replica cannot be read, the result is inconclusive.
func TestVerify(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 50)
	verify := func(t *testing.T, dir string, o restore.VerifyOptions) *restore.Verification {
		t.Helper()
		cfg := w.cfg
		cfg.Path = dir
		o.Scratch = t.TempDir()
		v := restore.Verify(t.Context(), cfg, o)
		if left, _ := os.ReadDir(o.Scratch); len(left) > 0 {
			t.Errorf("%s is left in the scratch place", left[0].Name())
		}
		return v
	}
	good := verify(t, w.cfg.Path, restore.VerifyOptions{})
	last := w.states[len(w.states)-1]
	if good.Outcome != restore.OK || good.LogSeq != last.log || good.SegmentsRead == 0 ||
		good.SegmentsRead != good.Segments || good.Time.After(last.at) || good.AgeSeconds <= 0 {
		t.Fatalf("%+v", good)
	}
	client, err := w.cfg.Client("")
	if err != nil {
		t.Fatal(err)
	}
	files, err := restore.ListFiles(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if good.Files != len(files) {
		t.Errorf("%d files were read, of %d", good.Files, len(files))
	}
	picked, err := restore.Chain(files, restore.Target{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := restore.MakePlan(t.Context(), w.cfg, w.dir, restore.Target{})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]func(dir string) string{
		"segment": func(dir string) string {
			return filepath.Join(dir, "segments", plan.Segments[0].File, "ltx", "9", ltx.FormatFilename(1, 1))
		},
		"instance": func(dir string) string {
			return filepath.Join(dir, "instance", "ltx", "9",
				ltx.FormatFilename(1, 1))
		},
		"last of the chain":  func(dir string) string { return w.object(dir, picked[len(picked)-1]) },
		"first of the chain": func(dir string) string { return w.object(dir, picked[0]) },
	}
	for level := range 10 {
		var of []restore.File
		for _, f := range files {
			if f.Level == level {
				of = append(of, f)
			}
		}
		if len(of) > 0 {
			kinds["level "+string(rune('0'+level))] = func(dir string) string { return w.object(dir, of[len(of)/2]) }
		}
	}
	if len(kinds) < 7 {
		t.Fatalf("the replica has only %d kinds of objects", len(kinds))
	}
	for kind, path := range kinds {
		t.Run("flipped/"+kind, func(t *testing.T) {
			t.Parallel()
			dir := copyDir(t, w.cfg.Path)
			flip(t, path(dir))
			v := verify(t, dir, restore.VerifyOptions{})
			if v.Outcome != restore.Failed || !named(v.Faults, path(dir)) {
				t.Errorf("%+v", v)
			}
		})
		t.Run("missing/"+kind, func(t *testing.T) {
			t.Parallel()
			dir := copyDir(t, w.cfg.Path)
			if err := os.Remove(path(dir)); err != nil {
				t.Fatal(err)
			}
			v := verify(t, dir, restore.VerifyOptions{Reached: ltx.TXID(good.TXID)})
			// What is the newest or the oldest of its level, and what others lead around, is no fault: a restore is as good as
			// it was.
			named := kind == "segment" || kind == "level 0" || kind == "level 1" || kind == "last of the chain"
			if named && v.Outcome != restore.Failed || v.Outcome == restore.OK && v.TXID != good.TXID {
				t.Errorf("%+v", v)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		if v := verify(t, t.TempDir(), restore.VerifyOptions{}); v.Outcome != restore.Failed ||
			!strings.Contains(v.Faults[0], restore.ErrEmpty.Error()) {
			t.Errorf("%+v", v)
		}
	})
	t.Run("another index", func(t *testing.T) {
		t.Parallel()
		if v := verify(t, w.cfg.Path, restore.VerifyOptions{Instance: "ANOTHER"}); v.Outcome != restore.Failed ||
			!strings.Contains(v.Faults[0], "another index") {
			t.Errorf("%+v", v)
		}
	})
	t.Run("not reached", func(t *testing.T) {
		t.Parallel()
		if v := verify(t, w.cfg.Path, restore.VerifyOptions{Reached: ltx.TXID(good.TXID) + 1}); v.Outcome != restore.Failed ||
			!strings.Contains(v.Faults[0], "the replica ends at") {
			t.Errorf("%+v", v)
		}
	})
	t.Run("some segments", func(t *testing.T) {
		t.Parallel()
		if v := verify(t, w.cfg.Path, restore.VerifyOptions{SegmentBytes: 1}); v.Outcome != restore.OK ||
			v.SegmentsRead != 1 || len(v.Notes) == 0 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("no scratch place", func(t *testing.T) {
		t.Parallel()
		v := restore.Verify(t.Context(), w.cfg, restore.VerifyOptions{Scratch: filepath.Join(t.TempDir(), "missing")})
		if v.Outcome != restore.Inconclusive || len(v.Faults) == 0 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a store that can't be read", func(t *testing.T) {
		t.Parallel()
		dir := copyDir(t, w.cfg.Path)
		level := filepath.Join(dir, "ltx", "0")
		if err := errors.Join(os.RemoveAll(level), os.WriteFile(level, []byte("no directory"), 0o644)); err != nil {
			t.Fatal(err)
		}
		if v := verify(t, dir, restore.VerifyOptions{}); v.Outcome != restore.Inconclusive {
			t.Errorf("%+v", v)
		}
	})
	if _, err := json.Marshal(good); err != nil {
		t.Error(err)
	}
}

// flip changes one bit in the middle of a file, and keeps its time.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x10
	if err := errors.Join(os.WriteFile(path, b, 0o644), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// named says whether a fault names a file: by its own name, or by that of the segment that it is.
func named(faults []string, path string) bool {
	for _, f := range faults {
		segment := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(path))))
		if strings.Contains(f, filepath.Base(path)) || strings.HasSuffix(segment, ".weft") && strings.Contains(f, segment) {
			return true
		}
	}
	return false
}

// TestRestoreDamaged: a restore goes around what is damaged where that leads as far, and else refuses, says what can
// still be restored, and leaves nothing behind but whole segments.
func TestRestoreDamaged(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 27) // the last three batches are in level 0 alone
	client, err := w.cfg.Client("")
	if err != nil {
		t.Fatal(err)
	}
	files, err := restore.ListFiles(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	picked, err := restore.Chain(files, restore.Target{})
	if err != nil {
		t.Fatal(err)
	}
	var level0 []restore.File
	for _, f := range picked {
		if f.Level == 0 {
			level0 = append(level0, f)
		}
	}
	if len(level0) < 3 {
		t.Fatalf("the chain is %v", picked)
	}
	plan, err := restore.MakePlan(t.Context(), w.cfg, w.dir, restore.Target{})
	if err != nil {
		t.Fatal(err)
	}
	segment := func(dir string) string {
		return filepath.Join(dir, "segments", plan.Segments[0].File, "ltx", "9", ltx.FormatFilename(1, 1))
	}
	still := level0[0].Max // with the second of them out of order
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   string // in the error; empty: it is restored all the same
		still  ltx.TXID
	}{
		{"a snapshot is flipped, and the levels go around it",
			func(t *testing.T, dir string) { flip(t, w.object(dir, picked[0])) }, "", 0},
		{"a file that only level 0 has is flipped", func(t *testing.T, dir string) { flip(t, w.object(dir, level0[1])) },
			ltx.FormatFilename(level0[1].Min, level0[1].Max), still},
		{"a file that only level 0 has is missing", func(t *testing.T,
			dir string) {
			_ = os.Remove(w.object(dir, level0[1]))
		},
			"the replica lacks transactions", still},
		{"the newest file is flipped", func(t *testing.T, dir string) { flip(t, w.object(dir, level0[len(level0)-1])) },
			ltx.FormatFilename(level0[len(level0)-1].Min, level0[len(level0)-1].Max), level0[len(level0)-2].Max},
		{"a file is cut off", func(t *testing.T, dir string) { _ = os.Truncate(w.object(dir, level0[1]), 50) },
			ltx.FormatFilename(level0[1].Min, level0[1].Max), still},
		{"a segment is flipped", func(t *testing.T, dir string) { flip(t, segment(dir)) },
			plan.Segments[0].File + ", level 9", 0},
		{"a segment is missing", func(t *testing.T, dir string) { _ = os.Remove(segment(dir)) },
			"do not need it: weft restore --plan --timestamp", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg, dir := w.cfg, t.TempDir()
			cfg.Path = copyDir(t, w.cfg.Path)
			tc.damage(t, cfg.Path)
			r, err := restore.Restore(t.Context(), cfg, dir, restore.Options{})
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Notes) == 0 {
					t.Error("it doesn't say that a file is damaged")
				}
				if got := w.equalsModel(dir); got != w.states[len(w.states)-1] {
					t.Errorf("restored as of %d events", got.events)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v", err)
			}
			t.Log(err)
			if there := restore.Obstacles(dir, restore.Target{}); len(there) > 0 {
				t.Errorf("%s is there", there[0])
			}
			if _, err := os.Stat(filepath.Join(dir, db.Restoring)); err == nil {
				t.Errorf("%s is left", db.Restoring)
			}
			if tc.still == 0 {
				return
			}
			if !strings.Contains(err.Error(), "--txid "+tc.still.String()+" ") {
				t.Errorf("it doesn't name transaction %d: %v", tc.still, err)
			}
			if _, err := restore.Restore(t.Context(), cfg, dir,
				restore.Options{Target: restore.Target{TXID: tc.still}}); err != nil {
				t.Fatalf("what can still be restored can't: %v", err)
			}
			w.equalsModel(dir)
		})
	}
}
