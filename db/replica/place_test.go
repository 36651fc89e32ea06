package replica

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/litestream"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// contents reads all files beneath a directory but the lock, by their path in it.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "weft.lock" {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRestoreTouchesNothing: what is there stays as it is without force, and with it under another name, whole enough
// to be used.
func TestRestoreTouchesNothing(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 20)
	now := func() time.Time { return time.Unix(1_780_000_000, 0) }
	dir := t.TempDir()
	early := restore.Options{Target: restore.Target{Time: w.states[12].at}, Now: now}
	if _, err := restore.Restore(t.Context(), w.cfg, dir, early); err != nil {
		t.Fatal(err)
	}
	for _, extra := range []string{".weft.db-litestream/ltx/0/x", "replica/KEY/checked", "segments/1-2-STRAY.weft"} {
		path := filepath.Join(dir, extra)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("old"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, dir)
	refused := func(o restore.Options, name string) {
		t.Helper()
		if _, err := restore.Restore(t.Context(), w.cfg, dir, o); err == nil ||
			!strings.Contains(err.Error(), "already has "+name) || !strings.Contains(err.Error(), "--force") {
			t.Errorf("error %v", err)
		}
		after := contents(t, dir)
		for name, was := range before {
			if after[name] != was {
				t.Errorf("%s has changed", name)
			}
		}
	}
	refused(restore.Options{}, "weft.db")

	forced := restore.Options{Force: true, Now: now}
	cfg := w.cfg
	cfg.Path = t.TempDir() // nothing can be restored from there: all stays in place
	if _, err := restore.Restore(t.Context(), cfg, dir, forced); !errors.Is(err, restore.ErrEmpty) {
		t.Fatal(err)
	}
	if after := contents(t, dir); len(after) != len(before) {
		t.Errorf("%d files are there, and %d were", len(after), len(before))
	}

	r, err := restore.Restore(t.Context(), w.cfg, dir, forced)
	if err != nil {
		t.Fatal(err)
	}
	if r.Aside != filepath.Join(dir, "before-restore-20260528T202640Z") {
		t.Errorf("aside: %s", r.Aside)
	}
	aside := contents(t, r.Aside)
	for name, was := range before {
		if aside[name] != was {
			t.Errorf("%s is not what it was", name)
		}
	}
	if len(aside) != len(before) {
		t.Errorf("%d files are aside, and %d were there", len(aside), len(before))
	}
	if got := w.equalsModel(dir); got != w.states[19] {
		t.Errorf("restored as of %d events", got.events)
	}
	if got := w.equalsModel(r.Aside); got != w.states[12] {
		t.Errorf("aside as of %d events", got.events)
	}
	// Of what Litestream kept nothing is left: its directory has the mark of the restore alone.
	if kept, err := os.ReadDir(filepath.Dir(restore.MarkPath(filepath.Join(dir, "weft.db")))); err != nil ||
		len(kept) != 1 || kept[0].Name() != "restored" {
		t.Errorf("%v is still there: %v", kept, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "weft.db-txid")); err == nil {
		t.Error("weft.db-txid is still there")
	}

	// The notes of a replicator alone are in the way of an index as of the past only.
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, restore.StateName), 0o755); err != nil {
		t.Fatal(err)
	}
	before = nil
	refused(early, restore.StateName)
	if _, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{}); err != nil {
		t.Error(err)
	}
	// A WAL without its database would be applied to the one that is restored.
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "weft.db-wal"), []byte("WAL"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(restore.Options{}, "weft.db-wal")
	// And a weft that runs.
	running := t.TempDir()
	s, err := db.Open(db.Config{Dir: running})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := restore.Restore(t.Context(), w.cfg, running, forced); err == nil ||
		!strings.Contains(err.Error(), "another weft has") {
		t.Errorf("error %v", err)
	}
}

// removeDatabase leaves a data directory with its segments alone.
func removeDatabase(t *testing.T, dir string) {
	t.Helper()
	for _, name := range restore.OwnedFiles {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestoreGoesOn: a restore that is broken off at any file goes on with the segments that are there, and replaces
// none that is another.
func TestRestoreGoesOn(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 30)
	dir := t.TempDir()
	full, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if full.Segments < 2 || full.SegmentsHad != 0 {
		t.Fatalf("%+v", full)
	}
	removeDatabase(t, dir)
	segments, err := filepath.Glob(filepath.Join(dir, "segments", "*.weft"))
	if err != nil || len(segments) != full.Segments {
		t.Fatal(segments, err)
	}
	if err := errors.Join(os.Remove(segments[0]), os.WriteFile(segments[0]+".tmp", []byte("half"), 0o644)); err != nil {
		t.Fatal(err)
	}
	src := &countedClients{Source: w.cfg, opened: map[string]int{}}
	r, err := restore.Restore(t.Context(), src, dir, restore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.SegmentsHad != full.Segments-1 || src.opened[config.SegmentSub(filepath.Base(segments[0]))] == 0 ||
		src.opened[config.SegmentSub(filepath.Base(segments[1]))] != 0 {
		t.Errorf("%+v, clients %v", r, src.opened)
	}
	opened := t.TempDir() // a store that is open may compact the segments that are looked at below
	if err := os.CopyFS(opened, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	w.equalsModel(opened)

	removeDatabase(t, dir)
	flip(t, segments[1])
	if _, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{}); err == nil ||
		!strings.Contains(err.Error(), filepath.Base(segments[1])+" exists but differs from the manifest") {
		t.Errorf("error %v", err)
	}
	if _, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.equalsModel(dir)
}

// countedClients counts the clients that are asked for, by their place. A pool can't reuse them.
type countedClients struct {
	config.Source
	opened map[string]int
}

func (c *countedClients) Client(sub string) (litestream.ReplicaClient, error) {
	c.opened[sub]++
	client, err := c.Source.Client(sub)
	return struct{ litestream.ReplicaClient }{client}, err
}

// TestRestoreWithoutSegments: of a replica that has weft.db alone, as stock Litestream makes it, the index comes back
// from the log.
func TestRestoreWithoutSegments(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, 0, 20)
	if err := os.RemoveAll(filepath.Join(w.cfg.Path, config.SegmentsSub)); err != nil {
		t.Fatal(err)
	}
	if v := restore.Verify(t.Context(), w.cfg, restore.VerifyOptions{Scratch: t.TempDir()}); v.Outcome != restore.OK ||
		len(v.Notes) != 1 {
		t.Errorf("%+v", v)
	}
	dir := t.TempDir()
	r, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Segments != 0 || len(r.Notes) != 1 {
		t.Errorf("%+v", r)
	}
	if got := w.equalsModel(dir); got != w.states[19] {
		t.Errorf("restored as of %d events", got.events)
	}
}

// TestRestoreSegments: what is missing comes back beside a database that stays as it is; what is damaged with force
// only.
func TestRestoreSegments(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 30)
	dir := t.TempDir()
	if _, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "segments", "*.weft"))
	if err != nil || len(segments) < 2 {
		t.Fatal(segments, err)
	}
	before := contents(t, dir)
	if err := os.Remove(segments[0]); err != nil {
		t.Fatal(err)
	}
	_, err = db.Open(db.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "weft restore --segments --data "+dir) {
		t.Errorf("error %v", err)
	}
	r, err := restore.Segments(t.Context(), w.cfg, dir, restore.Options{})
	if err != nil || r.Segments != len(segments) || r.SegmentsHad != len(segments)-1 {
		t.Errorf("%+v, %v", r, err)
	}
	flip(t, segments[1])
	if _, err := restore.Segments(t.Context(), w.cfg, dir, restore.Options{}); err == nil ||
		!strings.Contains(err.Error(), "replace it with --force") {
		t.Errorf("error %v", err)
	}
	if _, err := restore.Segments(t.Context(), w.cfg, dir, restore.Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	for name, was := range before {
		if now := contents(t, dir)[name]; now != was && !strings.HasPrefix(name, "weft.db-") {
			t.Errorf("%s has changed", name)
		}
	}
	w.equalsModel(dir)
	if _, err := restore.Segments(t.Context(), w.cfg, t.TempDir(), restore.Options{}); !errors.Is(err, db.ErrNoIndex) {
		t.Errorf("error %v", err)
	}
}

// TestRestoreCrash: a restore with force that ends at any step loses nothing of what was there, begins no new index in
// its place, and the same command brings it to its end.
func TestRestoreCrash(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 20)
	old := t.TempDir()
	if _, err := restore.Restore(t.Context(), w.cfg, old,
		restore.Options{Target: restore.Target{Time: w.states[12].at}}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(old, ".weft.db-litestream"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, "weft.db-wal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := contents(t, old)
	steps := 0
	for crash := 1; ; crash++ {
		dir := copyDir(t, old)
		n, now := 0, time.Unix(1_780_000_000, 0)
		o := restore.Options{Force: true, Now: func() time.Time { now = now.Add(time.Second); return now },
			Failpoint: func(what string) {
				if n++; n == crash {
					panic("crash: " + what)
				}
			}}
		crashed := func() (crashed bool) {
			defer func() { crashed = recover() != nil }()
			if _, err := restore.Restore(t.Context(), w.cfg, dir, o); err != nil {
				t.Fatal(err)
			}
			return false
		}()
		after := contents(t, dir)
		for name, was := range before {
			found := false
			for at, is := range after {
				found = found || is == was && (at == name || strings.HasSuffix(at, "Z/"+name))
			}
			if !found {
				t.Errorf("crash %d: %s is lost", crash, name)
			}
		}
		if !crashed {
			steps = n
			break
		}
		if _, ok := after["weft.db"]; !ok {
			if _, err := db.Open(db.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "was interrupted") {
				t.Fatalf("crash %d: %v", crash, err)
			}
		}
		if _, err := restore.Restore(t.Context(), w.cfg, dir, o); err != nil {
			t.Fatalf("crash %d, again: %v", crash, err)
		}
		if got := w.equalsModel(dir); got != w.states[19] {
			t.Errorf("crash %d: restored as of %d events", crash, got.events)
		}
	}
	if steps < 5 {
		t.Errorf("%d steps", steps)
	}
}
