package replica

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	ossignal "os/signal" // the package has a signal of its own
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

var rounds = flag.Int("rounds", 1, "kills of each kind of store; a hundred are a soak")

// childVariable makes the test binary a child: it holds the child in JSON.
const childVariable = "WEFT_REPLICA_TEST_CHILD"

// child is a process that writes and replicates an index until it is killed, as fast as it can in bursts. It says
// "applied CURSOR LOGROW" after each batch.
type child struct {
	Config config.Config
	Seed   uint64
	Events int
	Window time.Duration
	Steps  bool // of its clock, either way

	Patience time.Duration // with each request to the store
	FullAt   int           // the batch from which on its disk is full; 0: never
	Whole    bool          // it says nothing before what vanished is in the replica again
	Rounds   int           // of the parent
}

func (c child) run() error {
	go func() { // the parent's end, however it comes, ends its children
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	events, err := liveEvents(c.Seed, c.Events)
	if err != nil {
		return err
	}
	c.Config.StallTimeout = c.Patience
	*rounds = c.Rounds
	p, err := begin(context.Background(), c.Config, c.Window, events, nil)
	if err != nil {
		return err
	}
	if c.Whole {
		if err := p.whole(); err != nil {
			return err
		}
	}
	for batch := 1; p.store.Cursor(liveHost) < events[len(events)-1].Seq; batch++ {
		if c.Steps && rand.IntN(20) == 0 {
			p.clock.Add(rand.Int64N(4*3600) - 2*3600)
		}
		if batch == c.FullAt {
			if err := fillDisk(c.Config.DB + "-wal"); err != nil {
				return err
			}
		}
		if err := p.feed(50); c.FullAt > 0 && batch >= c.FullAt && errors.Is(err, db.ErrFailed) {
			fmt.Println("full")
			select {} // it goes on to replicate what it has
		} else if err != nil {
			return err
		}
		fmt.Println("applied", p.store.Cursor(liveHost), p.store.Seq())
		if rand.IntN(8) == 0 {
			time.Sleep(rand.N(100 * time.Millisecond)) // a moment without load is where other states are
		}
	}
	fmt.Println("done")
	select {}
}

// whole waits until the replica has all that was sent.
func (p *primary) whole() error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		st := p.rep.Status()
		gone, err := p.rep.missing(context.Background())
		if err == nil && gone == nil && st.State == "ok" && st.ReplicaTXID > 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not sent anew after 30 s: %v, %v, %+v", gone, err, st)
		}
	}
}

// vanish removes what a replica has of some levels, all of it now and then.
func vanish(t *testing.T, cfg config.Config) {
	t.Helper()
	client, err := cfg.Client("")
	must(t, err)
	if rand.IntN(2) == 0 {
		must(t, client.DeleteAll(t.Context()))
		return
	}
	files, err := restore.ListFiles(t.Context(), client)
	must(t, err)
	var gone []*ltx.FileInfo
	for _, f := range files {
		if rand.IntN(2) == 0 {
			gone = append(gone, f.Info())
		}
	}
	must(t, client.DeleteLTXFiles(t.Context(), gone))
}

// intrude begins a second weft beside the one that lives: it must be refused, and have changed nothing.
func intrude(t *testing.T, cfg config.Config) {
	t.Helper()
	cfg.DB = filepath.Join(t.TempDir(), "weft.db")
	p, err := begin(t.Context(), cfg, 0, nil, nil)
	if err == nil {
		t.Error("a second weft writes beside the first")
		_ = p.end(time.Second)
	} else if !fenced(err) && !strings.Contains(err.Error(), "cannot check whether") {
		t.Errorf("a second weft: %v", err)
	}
}

// fillDisk makes the WAL's next writes fail with EFBIG, as they do with ENOSPC on a full disk, some in the middle of a
// transaction.
func fillDisk(wal string) error {
	info, err := os.Stat(wal)
	if err != nil {
		return err
	}
	ossignal.Ignore(syscall.SIGXFSZ)
	size := uint64(info.Size() + rand.Int64N(64<<10))
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: size})
}

// TestKill kills the writer of an index again and again, and its store, and cuts, slows, fails and hangs what is
// between them; its clock steps, its disk is full, a second weft begins on an empty disk beside it, and objects vanish
// from the store. After each kill what the replica has is restored with weft and, with -stock, with stock Litestream.
// Both are whole, pass every check, and equal the model at exactly the event where they end; and all in the end is what
// it is without any kill.
func TestKill(t *testing.T) {
	program := stockLitestream(t)
	t.Parallel()
	for i, kind := range []string{"file", "s3", "sftp"} {
		t.Run(kind, func(t *testing.T) {
			if *rounds == 1 && i > 0 {
				t.Skip("with -rounds: go test ./... must stay under five minutes on two cores")
			}
			t.Parallel()
			s := newStore(t, kind)
			cfg := s.cfg
			cfg.DB = filepath.Join(t.TempDir(), "weft.db")
			cfg.SyncInterval = 100 * time.Millisecond
			cfg.Levels = []time.Duration{time.Second, 5 * time.Second}
			c := child{Config: cfg, Seed: uint64(i + 1), Events: 3000 * *rounds, Window: []time.Duration{0, time.Minute}[i%2],
				Patience: time.Second, Rounds: *rounds}
			events, err := liveEvents(c.Seed, c.Events)
			if err != nil {
				t.Fatal(err)
			}
			var lost []int
			last := 0
			full := 0
			vanished := 0
			for round := range *rounds {
				c.Steps, c.FullAt = rand.IntN(2) == 0, 0
				if rand.IntN(3) == 0 {
					c.FullAt = 1 + rand.IntN(10)
				}
				// While nothing runs: the next life begins without them, and sends them anew. On a new disk they would be lost.
				if last > 0 && round%3 != 0 && rand.IntN(4) == 0 {
					vanish(t, cfg)
					vanished++
					c.Whole = true
				}
				acknowledged, wasFull := liveAndDie(t, c, s, rand.N(2500*time.Millisecond)+200*time.Millisecond)
				c.Whole = false
				if wasFull {
					full++
				}
				n := 0
				dir := t.TempDir()
				r, err := restore.Restore(t.Context(), cfg, dir, restore.Options{})
				switch {
				case err == nil:
					n = sameAsModel(t, dir, events, c.Window, r.Segments)
				// Else it was killed before the first upload.
				case last > 0 || !strings.Contains(err.Error(), restore.ErrEmpty.Error()):
					t.Fatalf("round %d: %v", round, err)
				}
				if n < last {
					t.Errorf("round %d: %d events came back, and %d did before", round, n, last)
				}
				if n > 0 && program != "" {
					dir := t.TempDir()
					stockRestore(t, program, s, cfg, dir)
					if m := sameAsModel(t, dir, events, c.Window, len(manifestOf(t, dir).Segments)); m != n {
						t.Errorf("round %d: stock restored %d events, and weft %d", round, m, n)
					}
				}
				last = n
				lost = append(lost, max(0, after(events, acknowledged)-n))
				if round%3 == 2 { // on another disk
					cfg.DB = filepath.Join(t.TempDir(), "weft.db")
					c.Config = cfg
				}
			}
			p := mustBegin(t, cfg, c.Window, events)
			if err := p.feed(len(events)); err != nil {
				t.Fatal(err)
			}
			if err := p.end(30 * time.Second); err != nil {
				t.Fatal(err)
			}
			if n := equalsModel(t, cfg, events, c.Window); n != len(events) {
				t.Errorf("after a stop in order %d of %d events came back", n, len(events))
			}
			slices.Sort(lost)
			t.Logf("the disk was full in %d rounds of %d, and objects vanished in %d", full, *rounds, vanished)
			t.Logf("lost at a kill, events of some thousands a second: median %d, most %d", lost[len(lost)/2], lost[len(lost)-1])
		})
	}
}

// liveAndDie runs a child for a while, with faults of its store, and kills it. It answers the last cursor that the
// child has acknowledged, and whether it came to the end of its disk.
func liveAndDie(t *testing.T, c child, s *store, life time.Duration) (acknowledged uint64, full bool) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1<<16)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			lines <- sc.Text()
		}
	}()
	said := func(line string) {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "applied":
			_, _ = fmt.Sscan(rest, &acknowledged)
		case "full":
			full = true
		}
	}
	// The life begins with its first batch: a start takes what the machine lets it.
	select {
	case line, ok := <-lines:
		if !ok {
			_ = cmd.Wait()
			t.Fatalf("the child ended: %s", stderr.String())
		}
		said(line)
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Fatal("the child wrote nothing in a minute")
	}
	if rand.IntN(4) == 0 {
		intrude(t, c.Config)
	}
	if s.fault != nil {
		time.Sleep(life / 3)
		switch fault := rand.Int32N(storeFaults + 1); fault {
		case storeFaults:
			s.restart()
		default:
			s.fault.Store(fault)
		}
		time.Sleep(life / 3)
		if rand.IntN(2) == 0 {
			s.fault.Store(storeWell)
		}
		life /= 3
	}
	if s.hang != nil {
		time.Sleep(life / 3)
		s.hang.Store(rand.IntN(2) == 0)
		time.Sleep(life / 3)
		s.hang.Store(s.hang.Load() && rand.IntN(2) == 0)
		life /= 3
	}
	time.Sleep(life)
	_ = cmd.Process.Kill()
	for line := range lines {
		said(line)
	}
	_ = cmd.Wait()
	if stderr.Len() > 0 {
		t.Errorf("the child says %s", stderr.String())
	}
	if s.fault != nil {
		s.fault.Store(storeWell)
	}
	if s.hang != nil {
		s.hang.Store(false)
	}
	s.settle(t)
	return acknowledged, full
}

// settle waits until the S3 server has ended what the killed process asked of it: a request that ended after objects
// have vanished would be a second writer's.
func (s *store) settle(t *testing.T) {
	t.Helper()
	eventually(t, "the store has ended the requests of the killed",
		func() bool { return s.busy == nil || s.busy.Load() == 0 })
}

// stockRestore restores an index with the stock program alone: first weft.db, then each segment that its manifest
// names.
func stockRestore(t *testing.T, program string, s *store, cfg config.Config, dir string) {
	t.Helper()
	path := filepath.Join(dir, "weft.db")
	stockRestoreOne(t, program, s.yml, path, path)
	if err := os.Mkdir(filepath.Join(dir, "segments"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range manifestOf(t, dir).Segments {
		yml := strings.Replace(s.yml, cfg.Path, cfg.Path+"/segments/"+f.File, 1)
		out := filepath.Join(dir, "segments", f.File)
		stockRestoreOne(t, program, yml, out, out)
	}
}

func stockRestoreOne(t *testing.T, program, replica, db, out string) {
	t.Helper()
	if !strings.HasPrefix(replica, "{") {
		replica = "{" + replica + "}"
	}
	config := filepath.Join(t.TempDir(), "litestream.yml")
	if err := os.WriteFile(config, []byte("dbs: [{path: '"+db+"', replica: "+replica+"}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "restore", "-config", config, "-o", out, db)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("litestream restore: %v\n%s", err, text)
	}
}

func manifestOf(t *testing.T, dir string) *db.Manifest {
	t.Helper()
	m, err := db.ManifestOf(t.Context(), filepath.Join(dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
