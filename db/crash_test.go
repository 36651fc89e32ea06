package db_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// childVariable makes the test binary a child: it holds the child in JSON.
const childVariable = "WEFT_DB_TEST_CHILD"

func TestMain(m *testing.M) {
	// The heap may grow more before a collection. That saves a sixth of the CPU time of these tests.
	debug.SetGCPercent(400)
	text := os.Getenv(childVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var c child
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// world is a stream of events, the same each time, and the store that they go to.
type world struct {
	Sim       bool // the synthetic network; else a history of few accounts that collide
	Flap      bool // those change their status again and again, while jobs go through their records
	Seed      uint64
	Events    int
	Batch     int           // events in a batch
	Rewind    int           // events that come again after a restart
	SealBytes int           // 0: never
	Window    time.Duration // of the log
	Bodies    db.Bodies
	Old       bool // links to web pages are spelled as an older program did
}

func (w world) events() ([]apply.Event, error) {
	if w.Sim {
		return truth.Events(sim.NetworkConfig{Accounts: 150, Churn: 5, Seed: w.Seed}, w.Events)
	}
	if w.Flap {
		h := newFlapping(w.Seed)
		events := h.fill(30)
		for len(events) < w.Events {
			events = append(append(events, h.burst()...), h.fill(h.r.IntN(2))...)
		}
		return events, nil
	}
	h, events := newHistory(w.Seed), []apply.Event(nil)
	h.old, h.tids = w.Old, w.Old
	for len(events) < w.Events {
		events = append(events, h.next()...)
	}
	return events, nil
}

// config is a store whose clock tells a minute for each batch, so that the log ages with the stream.
func (w world) config(dir string, clock *atomic.Int64) db.Config {
	clock.Store(1_770_000_000)
	cfg := db.Config{Dir: dir, SealBytes: w.SealBytes, CacheBytes: 1 << 20, ReplayWindow: w.Window, Bodies: w.Bodies,
		Now: func() time.Time { return time.Unix(clock.Load(), 0) }}
	if w.Flap {
		cfg.JobRecords, cfg.JobRest = 2, -1
	}
	cfg.Checkpoint, _ = checkpoint.Parse("off") // the child does it, where it is told to
	if w.SealBytes == 0 {
		cfg.SealBytes = 1 << 30 // beyond any test
	}
	if w.Old {
		cfg.JobRecords = 1 // so that rewriting takes many steps
	}
	return cfg
}

const crashHost = "crash"

// child is a process that feeds a world to a store, and ends as it is told. It says on its output, a line each:
//
//	open CURSOR          the store is open
//	applied SEQ BYTES    a batch up to SEQ has returned from Apply, and the WAL has BYTES
//	degraded STEP        a step, seal or merge, is tried again
//	failed STEP ERROR    writing has stopped at a step, commit, enter, seal or merge, and queries answer as they should
//	refused ERROR        the store did not open
//	done                 the stream is at its end
type child struct {
	World world
	Dir   string

	// KillAt is a step of the store at which the child kills itself, at the KillTimes-th time.
	KillAt    string
	KillTimes int64
	// KillAtEnd ends the child with a kill, so that nothing is closed.
	KillAtEnd bool
	// AwaitSeals lets each seal end before the next batch. The number of segments then depends on the events alone.
	AwaitSeals bool
	// Linger lets the child wait at its end until no link has another spelling.
	Linger bool
	// Checkpoint is after how many batches the WAL is moved into the database; 0: never.
	Checkpoint int

	// FileLimit is how large the child's files may get, in bytes, from the start, or, when LimitTimes is above 0, from
	// the time on that so many segments were begun.
	FileLimit  uint64
	LimitTimes int64
	// Every is that of the comparison after a fault: flags of the test are the parent's.
	Every int
}

// kill ends this process at once. It never returns.
func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// limitFiles makes writes beyond so many bytes of a file fail with EFBIG, as those to a full disk do with ENOSPC.
func limitFiles(size uint64) error {
	signal.Ignore(syscall.SIGXFSZ)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: size})
}

func (c child) run() error {
	go func() { // the parent's end, however it comes, ends its children
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	events, err := c.World.events()
	if err != nil {
		return err
	}
	var clock, steps, begun, enters, entered atomic.Int64
	limited := make(chan error, 1)
	passed := make(chan struct{}, 1) // the segment that was to meet the limit is complete
	cfg := c.World.config(c.Dir, &clock)
	cfg.Failpoint = func(name string) error {
		if name == c.KillAt && steps.Add(1) == c.KillTimes {
			kill()
		}
		if name == "created" && c.LimitTimes > 0 && begun.Add(1) == c.LimitTimes {
			limited <- limitFiles(c.FileLimit)
		}
		if name == "enter" {
			enters.Add(1)
		}
		if name == "entered" {
			entered.Add(1)
		}
		if name == "dir-synced" && c.LimitTimes > 0 && begun.Load() >= c.LimitTimes {
			select {
			case passed <- struct{}{}:
			default:
			}
		}
		return nil
	}
	if c.FileLimit > 0 && c.LimitTimes == 0 {
		if err := limitFiles(c.FileLimit); err != nil {
			return err
		}
	}
	s, err := db.Open(cfg)
	if err != nil {
		if c.FileLimit > 0 {
			fmt.Println("refused", oneLine(err))
			return nil
		}
		return err
	}
	fmt.Println("open", s.Cursor(crashHost))
	next, waits := max(after(events, s.Cursor(crashHost))-c.World.Rewind, 0), c.LimitTimes > 0
	for n := 1; next < len(events); n++ {
		clock.Store(1_770_000_000 + int64(next/c.World.Batch)*60)
		batch := events[next:min(next+c.World.Batch, len(events))]
		failedBefore := s.Failed() != nil
		if _, err := s.Apply(db.Batch{Host: crashHost, Events: batch}); err != nil {
			step := "commit"
			switch {
			case enters.Load() != entered.Load():
				step = "enter" // in the transaction that changes the manifest
			case failedBefore && s.Sealing():
				step = "seal"
			case failedBefore:
				step = "merge"
			}
			return c.failed(s, events, step, err)
		}
		next += len(batch)
		size := int64(0)
		if info, err := os.Stat(filepath.Join(c.Dir, "weft.db-wal")); err == nil {
			size = info.Size()
		}
		fmt.Println("applied", batch[len(batch)-1].Seq, size)
		if c.Checkpoint > 0 && n%c.Checkpoint == 0 {
			_ = s.Checkpoint() // one that fails is put off, as the store itself does
		}
		// On a busy machine the stream would end before the steps of a seal are reached.
		awaitSeals := c.AwaitSeals || c.KillAt != "" && n > 3
		for awaitSeals && s.Sealing() && s.Failed() == nil {
			time.Sleep(time.Millisecond)
		}
		if !waits {
			continue
		}
		// Segments come one by one, so that their number tells which is that of a merge; and nothing is committed
		// meanwhile, for the segment is to meet the limit, and a commit would meet it too.
		last := func() bool { return c.LimitTimes > 1 && entered.Load() == c.LimitTimes-1 }
		for begun.Load() < c.LimitTimes && s.Failed() == nil && (s.Sealing() || last()) {
			time.Sleep(time.Millisecond)
		}
		if begun.Load() < c.LimitTimes {
			continue
		}
		if err := <-limited; err != nil {
			return err
		}
		for s.Failed() == nil && s.Degraded() == "" && len(passed) == 0 {
			time.Sleep(time.Millisecond)
		}
		switch {
		case s.Degraded() == "":
		case s.Sealing():
			fmt.Println("degraded seal")
		default:
			fmt.Println("degraded merge")
		}
		waits = false
	}
	if c.Linger {
		<-s.Respelled()
	}
	if c.KillAtEnd {
		kill()
	}
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// failed checks a store whose writing has stopped.
func (c child) failed(s *db.Store, events []apply.Event, step string, err error) error {
	if c.FileLimit == 0 || !errors.Is(err, db.ErrFailed) || s.Failed() == nil {
		return fmt.Errorf("apply: %w (latched: %v)", err, s.Failed())
	}
	if _, again := s.Apply(db.Batch{Host: crashHost, Events: events}); !errors.Is(again, db.ErrFailed) {
		return fmt.Errorf("after the fault a batch is taken with: %w", again)
	}
	upTo := events[:after(events, s.Cursor(crashHost))]
	if err := modelOf(upTo).Compare(context.Background(), s, dbtest.Depth{Page: 50, Every: c.Every}); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	fmt.Println("failed", step, oneLine(err))
	if c.KillAtEnd {
		kill()
	}
	_ = s.Close() // it may want to write
	return nil
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }

// after is how many events there are up to a cursor.
func after(events []apply.Event, cursor uint64) int {
	n, _ := slices.BinarySearchFunc(events, cursor, func(e apply.Event, cursor uint64) int {
		if e.Seq <= cursor {
			return -1
		}
		return 1
	})
	return n
}

// life is what a child has said in its life.
type life struct {
	killed  bool
	opened  bool
	cursor  uint64 // at the open
	applied []applied
	failed  string
	refused string

	degraded string
	done     bool
}

type applied struct {
	seq uint64
	wal int64
}

// live runs a child to its end. doom is asked after each line, and before the first, whether the child is to be killed
// now. It fails the test when the child ends on its own with a fault.
func live(t *testing.T, c child, doom func(lines int) bool) life {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), must(os.Executable()))
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, stdout := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var l life
	lines := 0
	if doom != nil && doom(lines) {
		_ = cmd.Process.Kill()
	}
	for sc := bufio.NewScanner(stdout); sc.Scan(); {
		word, rest, _ := strings.Cut(sc.Text(), " ")
		switch word {
		case "open":
			l.opened = true
			_, err = fmt.Sscan(rest, &l.cursor)
		case "applied":
			var a applied
			_, err = fmt.Sscan(rest, &a.seq, &a.wal)
			l.applied = append(l.applied, a)
		case "failed":
			l.failed = rest
		case "refused":
			l.refused = rest
		case "degraded":
			l.degraded = rest
		case "done":
			l.done = true
		default:
			err = fmt.Errorf("the child says %q", sc.Text())
		}
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatal(err)
		}
		if lines++; doom != nil && doom(lines) {
			_ = cmd.Process.Kill() // what it has said until then is still read
		}
	}
	err = cmd.Wait()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	l.killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	if err != nil && !l.killed {
		t.Fatalf("the child ended with %v: %s", err, stderr.String())
	}
	return l
}

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
		if err := applyAll(s, events, w.Batch, func() {}); err != nil {
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
	other := openSQL(t, dir)
	var manifest string
	if err := other.QueryRow("SELECT ifnull(group_concat(file, ' ' ORDER BY file), '') FROM segments").Scan(&manifest); err != nil {
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

// logOf counts the rows of a log, each with its links, by content. Those of resyncs are left out, whose number depends
// on how often their sync came.
func logOf(t *testing.T, dir string) map[string]int {
	t.Helper()
	rows, err := openSQL(t, dir).Query(`SELECT op || ' ' || actor || ' ' || ifnull(collection, '') || ' ' || quote(rkey) || ' ' ||
		ifnull(rev, '') || ' ' || ifnull(status, '') || ' ' || ifnull((SELECT group_concat(l.op || ':' || source || ':' || hex(target) ||
		':' || ifnull(rank, ''), ' ' ORDER BY l.id) FROM links l WHERE l.id >> 12 = seq), '') FROM records WHERE op < 5`)
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
