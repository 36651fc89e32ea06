package replica

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/benbjohnson/litestream"

	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// TestRestoreEqualsModel: what is restored to any moment equals the model as of the newest batch before it, with a
// whole log and with one that is pruned, and while the files of level 0 are there and when they are merged.
func TestRestoreEqualsModel(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		window time.Duration
	}{{"whole log", 0}, {"pruned log", time.Minute}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fileConfig(t), 1, tc.window)
			w.grow(60)
			w.stop()
			moments := steps(20, 8)
			if testing.Short() { // the race detector looks for other things
				moments = 4
			}
			for range moments {
				i := w.r.IntN(len(w.states))
				want, dir := w.states[i], t.TempDir()
				r, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{Target: restore.Target{Time: want.at}})
				if err != nil {
					t.Fatalf("to batch %d at %s: %v", i, restore.Stamp(want.at), err)
				}
				if r.LastSeq != want.log || !r.Time.Before(want.at) || tc.window > 0 && r.Segments == 0 {
					t.Errorf("to batch %d, log row %d at %s: %+v", i, want.log, restore.Stamp(want.at), r)
				}
				w.equalsModel(dir)
			}
			// Level 0 goes after a while: a restore then stops at what was merged.
			if err := os.RemoveAll(filepath.Join(w.cfg.Path, "ltx", "0")); err != nil {
				t.Fatal(err)
			}
			exact := 0
			for range steps(8, 4) {
				i := 4 + w.r.IntN(len(w.states)-4)
				dir := t.TempDir()
				r, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{Target: restore.Target{Time: w.states[i].at}})
				if err != nil {
					t.Fatalf("to batch %d: %v", i, err)
				}
				got := w.equalsModel(dir)
				if got.at.After(w.states[i].at) || r.Time.After(w.states[i].at) {
					t.Errorf("to %s: it has %s", restore.Stamp(w.states[i].at), restore.Stamp(got.at))
				}
				if lag := w.states[i].events - got.events; lag == 0 {
					exact++
				} else if j := (i + 1) / 4 * 4; got != w.states[j-1] {
					t.Errorf("to batch %d: %d events before it, and level 1 has all up to batch %d", i, lag, j-1)
				}
			}
			t.Logf("%d were a moment of level 1", exact)
		})
	}
}

// TestRestoreTransactions: to each transaction that the replica says it can.
func TestRestoreTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fileConfig(t), 2, 0)
	w.grow(10)
	w.stop()
	client, err := w.cfg.Client("")
	if err != nil {
		t.Fatal(err)
	}
	files, err := restore.ListFiles(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	all := restore.Spans(files)
	if len(all) != 1 {
		t.Fatalf("spans %v", all)
	}
	for txid := all[0].From; txid <= all[0].To; txid++ {
		dir := t.TempDir()
		r, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{Target: restore.Target{TXID: txid}})
		if err != nil || r.TXID != txid {
			t.Fatalf("transaction %d: %+v, %v", txid, r, err)
		}
		if _, ok := w.at(r.LastSeq); ok {
			w.equalsModel(dir)
		}
	}
	var point *restore.PointError
	if _, err := restore.Restore(t.Context(), w.cfg, t.TempDir(),
		restore.Options{Target: restore.Target{TXID: all[0].To + 1}}); !errors.As(err, &point) {
		t.Errorf("beyond the newest: %v", err)
	}
	if _, err := restore.Restore(t.Context(), w.cfg, t.TempDir(),
		restore.Options{Target: restore.Target{Time: all[0].FromTime}}); !errors.As(err, &point) {
		t.Errorf("before the oldest: %v", err)
	}
	if _, err := restore.Restore(t.Context(), fileConfig(t), t.TempDir(), restore.Options{}); !errors.Is(err,
		restore.ErrEmpty) {
		t.Errorf("from nothing: %v", err)
	}
}

// TestRestoreReadsOthers: what Litestream's own restore makes of the replica is what ours does, byte for byte.
func TestRestoreReadsOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fileConfig(t), 3, time.Minute)
	w.grow(30)
	w.stop()
	dir := t.TempDir()
	r, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.equalsModel(dir); got != w.states[len(w.states)-1] {
		t.Errorf("the newest is batch of %d events, and %d were written", got.events, len(w.events))
	}
	again := t.TempDir()
	if _, err := restore.Restore(t.Context(), w.cfg, again, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	theirs := func(sub string) string {
		client, err := w.cfg.Client(sub)
		if err != nil {
			t.Fatal(err)
		}
		o := litestream.NewRestoreOptions()
		o.OutputPath = filepath.Join(t.TempDir(), "theirs")
		if err := litestream.NewReplicaWithClient(nil, client).Restore(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		return o.OutputPath
	}
	same := func(ours, theirs string) {
		t.Helper()
		a, err := os.ReadFile(ours)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if string(a) != string(b) {
			t.Errorf("%s differs", ours)
		}
	}
	same(filepath.Join(again, "weft.db"), theirs(""))
	segments, err := filepath.Glob(filepath.Join(again, "segments", "*"))
	if err != nil || len(segments) != r.Segments || len(segments) == 0 {
		t.Fatalf("%d segments, of %d, %v", len(segments), r.Segments, err)
	}
	for _, s := range segments {
		same(s, theirs(config.SegmentSub(filepath.Base(s))))
	}
}

// TestTimesOfCopies: a replica in a directory that was copied without the times of its files is restored to a moment as
// well as before, and lists the same moments: the files themselves hold their times.
func TestTimesOfCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fileConfig(t), 3, 0)
	w.grow(12)
	w.stop()
	before, err := restore.List(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := filepath.WalkDir(w.cfg.Path, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, now, now)
	}); err != nil {
		t.Fatal(err)
	}
	after, err := restore.List(t.Context(), w.cfg)
	if err != nil || !slices.Equal(before.Spans, after.Spans) {
		t.Errorf("it lists %v, and %v before: %v", after.Spans, before.Spans, err)
	}
	for _, i := range []int{2, 6, 11} {
		want := w.states[i]
		r, err := restore.Restore(t.Context(), w.cfg, t.TempDir(), restore.Options{Target: restore.Target{Time: want.at}})
		if err != nil || r.LastSeq != want.log || !r.Time.Before(want.at) {
			t.Errorf("to batch %d, log row %d at %s: %+v, %v", i, want.log, restore.Stamp(want.at), r, err)
		}
	}
	p, err := restore.MakePlan(t.Context(), w.cfg, t.TempDir(), restore.Target{Time: w.states[5].at})
	if err != nil || p.Manifest.LastSeq != w.states[5].log {
		t.Errorf("the plan is %+v, %v", p, err)
	}
	if r, err := restore.Restore(t.Context(), w.cfg, t.TempDir(), restore.Options{}); err != nil ||
		!r.Time.Before(w.states[11].at) {
		t.Errorf("the newest: %+v, %v", r, err)
	}
}
