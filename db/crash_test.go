package db_test

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
)

// crashSteps is every step of sealing, merging, pruning and keeping bodies.
var crashSteps = []string{"created", "written", "synced", "renamed", "dir-synced", "enter", "entered", "prune",
	"unlink", "bodies"}

// TestKill kills a child at each step of the store and at random moments, again and again on one directory. After each
// kill all that it had acknowledged is there, and at the end the index is that of an undisturbed run, and so is the
// log.
func TestKill(t *testing.T) {
	notShort(t)
	t.Parallel()
	var kills atomic.Int64
	t.Cleanup(func() { t.Logf("%d kills", kills.Load()) })
	// With fewer events the stream may end before a step was reached.
	worlds := 1 + *soak
	if *thorough {
		worlds++
	}
	for n := range worlds {
		seed := uint64(n)
		w := world{Sim: n%2 == 0, Seed: seed, Events: 6000, Batch: 100, Rewind: 250,
			SealBytes: 20 << 10, Window: 10 * time.Minute,
			Bodies: db.BodiesKeep - db.Bodies(n%2)}
		if !w.Sim { // keeps its log, and collides so much that it is slow to compare
			w.Events, w.Batch, w.Rewind, w.SealBytes, w.Window = 3500, (20 + n%30), 70, 6<<10, -1
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			kills.Add(killWorld(t, w))
		})
	}
	t.Run("jobs", func(t *testing.T) {
		if !*thorough && *soak == 0 {
			t.Skip("with -thorough: go test ./... must stay under five minutes on two cores")
		}
		t.Parallel()
		kills.Add(killWorld(t, world{Flap: true, Seed: uint64(*soak), Events: 4000, Batch: 40,
			Rewind: 100, SealBytes: 6 << 10,
			Window: 10 * time.Minute, Bodies: db.BodiesKeep}))
	})
}

// killWorld kills the children of one world, and returns how many.
func killWorld(t *testing.T, w world) (kills int64) {
	events, err := w.events()
	if err != nil {
		t.Fatal(err)
	}
	r, dir := rand.New(rand.NewPCG(w.Seed, 2)), t.TempDir()
	acknowledged := uint64(0)
	one := func(c child, doom func(int) bool) life {
		t.Helper()
		c.World, c.Dir = w, dir
		l := live(t, c, doom)
		if l.opened && l.cursor < acknowledged {
			t.Fatalf("opened at %d after %d was acknowledged", l.cursor, acknowledged)
		}
		for _, a := range l.applied {
			acknowledged = max(acknowledged, a.seq)
		}
		if l.killed {
			kills++
		}
		return l
	}
	random := func(lines int) {
		// Until the kill: some lines, 0 for one while the store opens, and then a moment that is anywhere in a commit,
		// a seal or an open, which take milliseconds.
		moment := time.Duration(r.IntN(4000)) * time.Microsecond
		if lines == 0 {
			moment *= 15 // the process has to start
		}
		one(child{Checkpoint: r.IntN(8)}, func(n int) bool {
			if n == lines {
				time.Sleep(moment)
			}
			return n == lines
		})
	}
	compare := func() {
		t.Helper()
		checkCrashed(t, w, dir, events, acknowledged)
	}
	steps := slices.Clone(crashSteps)
	if w.Flap {
		steps = append(steps, "job", "job", "job")
	}
	if w.Window < 0 {
		steps = []string{"written", "enter", "entered", "unlink", "bodies"} // nothing is pruned
	}
	r.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	random(0) // in the midst of the first open
	random(0)
	for i, step := range steps {
		l := one(child{KillAt: step, KillTimes: 1 + r.Int64N(2), Checkpoint: r.IntN(8)}, nil)
		if !l.killed {
			t.Errorf("%s was not reached", step)
		}
		random(r.IntN(8))
		if i%(4*fraction(2)) == 3 {
			compare()
		}
	}
	compare()
	for l := (life{}); !l.done; {
		if l = one(child{}, nil); l.killed {
			t.Fatal("nobody killed it")
		}
	}
	if acknowledged != events[len(events)-1].Seq {
		t.Errorf("acknowledged up to %d of %d", acknowledged, events[len(events)-1].Seq)
	}
	compare()
	if r, err := check.Run(t.Context(), dir, check.Options{All: true}); err != nil || r.Total > 0 {
		t.Errorf("checked: %v, %+v", err, r)
	}
	if w.Window < 0 {
		undisturbed := t.TempDir()
		var clock atomic.Int64
		cfg := w.config(undisturbed, &clock)
		cfg.SealBytes = 1 << 30
		s := openWith(t, cfg)
		// The clock goes on as the children's: for one that stands still, the later events have times ahead of it, and
		// no resync of theirs is idle.
		if err := applyAll(s, events, w.Batch, func() { clock.Add(60) }); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got, want := logOf(t, dir), logOf(t, undisturbed)
		for _, row := range slices.Sorted(maps.Keys(got)) {
			if got[row] != want[row] {
				t.Errorf("the log has the row %s %d times, and that of an undisturbed run %d times", row, got[row],
					want[row])
			}
			delete(want, row)
		}
		for row := range want {
			t.Errorf("the log misses the row %s", row)
		}
	}
	return kills
}

// checkCrashed opens a directory that a child has left, and holds it against the model: all that was acknowledged is
// there, nothing is half there or there twice, and nothing else is left behind.
func checkCrashed(t *testing.T, w world, dir string, events []apply.Event, acknowledged uint64) {
	t.Helper()
	var clock atomic.Int64
	s := openWith(t, w.config(dir, &clock))
	cursor := s.Cursor(crashHost)
	n := after(events, cursor)
	m := modelOf(events[:n])
	if w.Flap {
		untilNoJobs(t, s)
	}
	err := m.Compare(t.Context(), s, sampled(50))
	if err == nil {
		err = m.CompareBodies(t.Context(), s, func(db.Record) bool { return w.Bodies != db.BodiesKeep })
	}
	// Closed before anything else, for a merge may begin at once, and the files are looked at.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	switch {
	case cursor < acknowledged:
		t.Fatalf("the cursor is %d, and %d was acknowledged", cursor, acknowledged)
	case n > 0 && events[n-1].Seq != cursor:
		t.Fatalf("the cursor %d is no event's", cursor)
	case err != nil:
		t.Fatalf("after %d events: %v", n, err)
	}
	other := openLog(t, dir)
	var manifest string
	if err := other.QueryRow("SELECT ifnull(group_concat(file, ' ' ORDER BY file), '') FROM segments").Scan(
		&manifest); err != nil {
		t.Fatal(err)
	}
	if files := strings.Join(segmentFiles(t, dir), " "); files != manifest {
		t.Errorf("the files are %s, and the manifest names %s", files, manifest)
	}
	var rows, span, orphans, twice, refs int
	for _, q := range []struct {
		into  *int
		query string
	}{
		{&rows, "SELECT count(*) FROM records"},
		{&span, "SELECT ifnull(max(seq) - min(seq) + 1, 0) FROM records"},
		{&orphans, "SELECT count(*) FROM links WHERE id >> 12 NOT IN (SELECT seq FROM records)"},
		{&refs, `SELECT count(*) FROM blocks LEFT JOIN (SELECT block, count(*) AS n FROM bodies GROUP BY block) ON block = id
			WHERE refs <> ifnull(n, 0) OR refs = 0`},
		// A sync that comes again opens its resync again, which is harmless, and logs that: ops 5 to 7.
		{&twice, `SELECT count(*) FROM (SELECT 1 FROM records WHERE op < 5
			GROUP BY op, actor, collection, rkey, rev, iif(op = 4, time_us, 0) HAVING count(*) > 1)`},
	} {
		if err := other.QueryRow(q.query).Scan(q.into); err != nil {
			t.Fatal(err)
		}
	}
	if rows != span || orphans != 0 || twice != 0 || refs != 0 {
		t.Errorf("the log has %d rows in a span of %d, %d link rows of none of them, and %d rows twice; %d blocks "+
			"count wrongly",
			rows, span, orphans, twice, refs)
	}
}

func openSQL(t *testing.T, dir string) *sql.DB {
	t.Helper()
	other, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	return other
}

// openLog is openSQL with the tables of dbtest.LogTables.
func openLog(t *testing.T, dir string) *sql.DB {
	t.Helper()
	base := openSQL(t, dir)
	base.SetMaxOpenConns(1)
	if err := dbtest.LogTables(base); err != nil {
		t.Fatal(err)
	}
	return base
}

// logOf counts the rows of a log, each with its links, by content. Those of resyncs are left out, whose number depends
// on how often their sync came.
func logOf(t *testing.T, dir string) map[string]int {
	t.Helper()
	rows, err := openLog(t, dir).Query(
		`SELECT op || ' ' || actor || ' ' || ifnull(collection, '') || ' ' || quote(rkey) || ' ' ||
		ifnull(rev, '') || ' ' || ifnull(status, '') || ' ' || ifnull((SELECT group_concat(l.op || ':' || source || ':' || hex(target) ||
		':' || ifnull(rank, ''), ' ' ORDER BY l.id) FROM links l WHERE l.seq = records.seq), '') FROM records WHERE op < 5`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	log := map[string]int{}
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		log[row]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return log
}

// TestStrayFiles: what a crash leaves in the directory of segments is removed by the next start, and nothing else is.
func TestStrayFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	for name, stays := range map[string]bool{
		"1-20-ABCDEFGHIJKL.weft":             false, // complete, and not entered
		"1-20-ABCDEFGHIJKM.weft.tmp":         false, // being written
		"1-20-ABCDEFGHIJKM.weft.tmp-journal": false,
		"1-20-ABCDEFGHIJKM.weft.hashes.tmp":  false, // what a large one spills
		"1-20-ABCDEFGHIJKM.weft.bak":         true,
		"notes.txt":                          true,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "segments", name)
			if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := open(t, dir).Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); (err == nil) != stays {
				t.Errorf("after a start it is there: %t", err == nil)
			}
		})
	}
}

// sampled is the depth of tests that compare the lists of a network many times, in pages of page items: counts and
// links of every list, and all else of one list in five. With -thorough it asks every list for everything.
func sampled(page int) dbtest.Depth { return dbtest.Depth{Page: page, Every: fraction(5)} }
