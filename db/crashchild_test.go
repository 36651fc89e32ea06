package db_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// child is a process that applies the events of a world to a store, and ends as its fields say. It prints, a line each:
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
