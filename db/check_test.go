package db_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// hashFiles is the checksum of each file below a directory, but for those that have no content of their own.
func hashFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "-shm") || strings.HasSuffix(path, ".lock") {
			return err
		}
		data, err := os.ReadFile(path)
		sum := sha256.Sum256(data)
		sums[path] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// TestCheckClean: an index with a history of everything that happens has no problem, whole or sampled, with a WAL or
// without; and to check it changes no file.
func TestCheckClean(t *testing.T) {
	t.Parallel()
	less := fraction(2)
	batch := 200 / less
	events, err := truth.Events(sim.NetworkConfig{Accounts: 200, Churn: 10, Seed: 7}, 60*batch)
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	cfg := small(t.TempDir(), &clock)
	cfg.JobRecords, cfg.JobRest, cfg.SealBytes = 20, -1, 50<<10/less
	s := openWith(t, cfg)
	if err := applyAll(s, events, batch, func() { clock.Add(60) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	runs := t.TempDir()
	running := open(t, runs) // seals nothing, so that a copy of its files is what a crash leaves
	defer running.Close()
	if err := applyAll(running, events[:15*batch], batch, func() {}); err != nil {
		t.Fatal(err)
	}
	crashed := t.TempDir()
	if err := os.CopyFS(crashed, os.DirFS(runs)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		dir  string
		o    check.Options
	}{
		{"all", cfg.Dir, check.Options{All: true}},
		{"all, with a WAL", crashed, check.Options{All: true}},
		{"a sample of 50", cfg.Dir, check.Options{Sample: 50, Seed: 1}},
		{"a sample of 500", cfg.Dir, check.Options{Sample: 500, Seed: 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := hashFiles(t, tc.dir)
			r, err := check.Run(t.Context(), tc.dir, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range r.Problems {
				t.Errorf("%s: %s", p.Kind, p.Text)
			}
			if len(r.Checked) < 7 || tc.o.All && len(r.Left) > 0 {
				t.Errorf("checked %+v, left %v", r.Checked, r.Left)
			}
			if after := hashFiles(t, tc.dir); !maps.Equal(before, after) {
				t.Errorf("files changed: before %v, after %v", before, after)
			}
		})
	}
}

// TestCheckRefuses: what can't be checked is said with the way out, and nothing is made or changed.
func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		want    string
	}{
		{"an empty directory", func(t *testing.T, dir string) {}, "there is no weft.db"},
		{"a file that is none", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "weft.db"), []byte(strings.Repeat("no database ", 500)),
				0o644); err != nil {
				t.Fatal(err)
			}
		}, "restore it from its replica with weft restore --force"},
		{"an older schema", func(t *testing.T, dir string) {
			open(t, dir).Close()
			dbtest.Statements(
				"DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)")(t, dir)
		}, "weft serve migrates it"},
		{"a newer schema", func(t *testing.T, dir string) {
			open(t, dir).Close()
			dbtest.Statements("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")(t, dir)
		}, "use the weft version that wrote it, or a newer one"},
		{"another migration", func(t *testing.T, dir string) {
			open(t, dir).Close()
			dbtest.Statements("UPDATE meta SET value = 'x' WHERE key LIKE 'migration:%'")(t, dir)
		}, "another migration"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tc.prepare(t, dir)
			before := hashFiles(t, dir)
			if _, err := check.Run(t.Context(), dir, check.Options{}); err == nil ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("refused with %v, want %q in it", err, tc.want)
			}
			if after := hashFiles(t, dir); len(after) > len(before) {
				t.Errorf("files came: before %v, after %v", before, after)
			}
		})
	}
	if _, err := check.Run(t.Context(), filepath.Join(t.TempDir(), "none"), check.Options{}); !errors.Is(err,
		db.ErrNoIndex) {
		t.Errorf("no directory: %v", err)
	}
}

// TestCheckHistories: whatever happened, and wherever it was stopped, amid changes of status too, all agrees.
func TestCheckHistories(t *testing.T) {
	t.Parallel()
	for seed := range seeds(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			var clock atomic.Int64 // seconds since 1970; the store's workers read it too
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				JobRecords: 1 + int(seed%3), JobRest: -1,
				SealBytes: 4 << 10 << (seed % 3), CacheBytes: 1 << 16, ReplayWindow: time.Duration(seed%5) * 10 * time.Minute}
			if seed%2 == 0 { // else they change with each start
				cfg.Bodies = db.Bodies(seed / 2 % 3)
			}
			var sent []apply.Event
			for start := range 8 {
				if seed%2 == 1 {
					cfg.Bodies = pick(h.r, db.BodiesOff, db.BodiesWindow, db.BodiesKeep, db.BodiesKeep)
				}
				s := openWith(t, cfg)
				for range 10 / fraction(1) {
					var batch []apply.Event
					if len(sent) > 0 && h.r.IntN(4) == 0 {
						batch = append(batch, sent[h.r.IntN(len(sent)):]...) // these come again
					}
					for range h.r.IntN(40) {
						events := h.next()
						batch, sent = append(batch, events...), append(sent, events...)
					}
					if _, err := s.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
						t.Fatal(err)
					}
					clock.Add(int64(h.r.IntN(120) - 20))
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				r, err := check.Run(t.Context(), cfg.Dir, check.Options{All: true})
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range r.Problems {
					t.Errorf("start %d: %s: %s", start, p.Kind, p.Text)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}
