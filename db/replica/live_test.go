package replica

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

func TestMain(m *testing.M) {
	// The heap may grow more before a collection. That saves a quarter of the CPU time of these tests.
	debug.SetGCPercent(400)
	_ = os.Unsetenv("AWS_CA_BUNDLE")                   // ParseConfig refuses it: the S3 client doesn't start with it
	if _, err := sqlite.OFDLocking(true); err != nil { // before the first test opens a database
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	text := os.Getenv(childVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	flag.Parse() // -test.short of the parent
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

const liveHost = "live"

// liveEvents is the same stream each time.
func liveEvents(seed uint64, n int) ([]apply.Event, error) {
	return truth.Events(sim.NetworkConfig{Accounts: 150, Churn: 5, Seed: seed}, n)
}

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

// primary is an index that is written and replicated in one process, as weft serve does it.
type primary struct {
	cfg    config.Config
	dir    string
	events []apply.Event
	store  *db.Store
	rep    *Replicator
	clock  atomic.Int64 // seconds: the log ages with the stream

	stop context.CancelFunc
	ran  chan error
}

// liveConfig is a replica in a directory, of an index in another, at a pace for tests.
func liveConfig(t *testing.T) config.Config {
	c := fileConfig(t)
	c.SyncInterval = 20 * time.Millisecond
	c.Levels = []time.Duration{time.Second, 3 * time.Second}
	return c
}

// testLease expires after what a machine that does much else may take for a renewal.
var testLease = leaseTimes{renew: 100 * time.Millisecond, request: time.Second, suspend: 2 * time.Second,
	expire: 3 * time.Second}

// soakLease is the lease of a soak and of the race detector: a renewal may be late by the time that a busy machine
// starves a process.
var soakLease = leaseTimes{renew: 200 * time.Millisecond, request: 3 * time.Second, suspend: 6 * time.Second,
	expire: 9 * time.Second}

// leaseForTest returns the times of the lease: those of a soak with -rounds above 1, or with -short, which the race
// detector runs with.
func leaseForTest() leaseTimes {
	if *rounds > 1 || testing.Short() {
		return soakLease
	}
	return testLease
}

// begin starts a primary on a directory.
func begin(ctx context.Context, cfg config.Config, window time.Duration, events []apply.Event,
	logger *slog.Logger) (*primary, error) {
	return beginWith(ctx, cfg, window, events, logger, func(*ReplicatorConfig) {})
}

// beginWith is begin, with a changed configuration of the replicator.
func beginWith(ctx context.Context, cfg config.Config, window time.Duration, events []apply.Event, logger *slog.Logger,
	change func(*ReplicatorConfig)) (*primary, error) {
	p := &primary{cfg: cfg, dir: filepath.Dir(cfg.DB), events: events, ran: make(chan error, 1)}
	rc := ReplicatorConfig{Replica: cfg, Dir: p.dir, Logger: logger, lease: leaseForTest(),
		Restore: func(ctx context.Context, lock *dirlock.Lock) error {
			_, err := restore.Restore(ctx, cfg, p.dir, restore.Options{Lock: lock})
			return err
		}}
	change(&rc)
	p.rep = New(rc)
	if err := p.rep.Prepare(ctx); err != nil {
		return nil, err
	}
	rule, err := checkpoint.Parse("1000000 frames")
	if err != nil {
		return nil, err
	}
	p.store, err = db.Open(db.Config{Dir: p.dir, Lock: p.rep.DirLock(), SealBytes: 16 << 10, CacheBytes: 1 << 20,
		ReplayWindow: window, Checkpoint: rule,
		Now: func() time.Time { return time.Unix(1_770_000_000+p.clock.Add(1), 0) }, Replicator: true,
		OnSegment: p.rep.OnSegment, Logger: logger})
	if err != nil {
		return nil, err
	}
	if err := p.rep.Open(ctx, p.store); err != nil {
		return nil, err
	}
	ctx, p.stop = context.WithCancel(ctx)
	go func() { p.ran <- p.rep.Run(ctx) }()
	return p, nil
}

func mustBegin(t *testing.T, cfg config.Config, window time.Duration, events []apply.Event) *primary {
	t.Helper()
	p, err := begin(t.Context(), cfg, window, events, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// feed applies the next events.
func (p *primary) feed(n int) error {
	next := after(p.events, p.store.Cursor(liveHost))
	for end := min(next+n, len(p.events)); next < end; {
		batch := p.events[next:min(next+50, end)]
		if _, err := p.store.Apply(db.Batch{Host: liveHost, Events: batch}); err != nil {
			return err
		}
		next += len(batch)
	}
	return nil
}

// end stops as weft serve does, and answers what the last upload came to.
func (p *primary) end(deadline time.Duration) error {
	p.stop()
	err := <-p.ran
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	err = errors.Join(err, p.rep.Flush(ctx))
	p.rep.Release()
	return errors.Join(err, p.store.Close(), p.rep.Close())
}

// equalsModel restores a replica, and holds what came back against the model as of its cursor. It answers how many
// events that is.
func equalsModel(t *testing.T, cfg config.Config, events []apply.Event, window time.Duration) int {
	t.Helper()
	dir := t.TempDir()
	r, err := restore.Restore(t.Context(), cfg, dir, restore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return sameAsModel(t, dir, events, window, r.Segments)
}

// comesBack restores a replica with all the checks of a restore, and answers how many events it has. equalsModel looks
// at each of them, which takes seconds.
func comesBack(t *testing.T, cfg config.Config, events []apply.Event, window time.Duration) int {
	t.Helper()
	dir := t.TempDir()
	if _, err := restore.Restore(t.Context(), cfg, dir, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	s, err := db.Open(db.Config{Dir: dir, ReplayWindow: window})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	return after(events, s.Cursor(liveHost))
}

func sameAsModel(t *testing.T, dir string, events []apply.Event, window time.Duration, segments int) int {
	t.Helper()
	report, err := check.Run(t.Context(), dir, check.Options{All: true})
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("check: %v, %+v", err, report)
	}
	s, err := db.Open(db.Config{Dir: dir, ReplayWindow: window})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if got := len(s.SegmentPaths()); got != segments {
		t.Errorf("%d segments were restored, and %d are in use", segments, got)
	}
	n := after(events, s.Cursor(liveHost))
	var m dbtest.Model
	for _, e := range events[:n] {
		m.Apply(e)
	}
	if err := m.Compare(t.Context(), s, depth(50)); err != nil {
		t.Fatalf("as of event %d: %v", n, err)
	}
	return n
}

// TestReplicate: after a stop in order the replica has all, again and again, with starts on the same directory and on
// an empty one; and the segments of any moment are there.
func TestReplicate(t *testing.T) {
	if testing.Short() {
		t.Skip("compares with the model again and again, which the race detector makes minutes of: left out with -short")
	}
	t.Parallel()
	for _, tc := range []struct {
		name   string
		window time.Duration
	}{{"whole log", 0}, {"pruned log", time.Minute}} {
		t.Run(tc.name, func(t *testing.T) {
			if *rounds == 1 && tc.window == 0 {
				t.Skip("with -rounds: go test ./... must stay under five minutes on two cores")
			}
			t.Parallel()
			events, err := liveEvents(1, 2000)
			if err != nil {
				t.Fatal(err)
			}
			cfg := liveConfig(t)
			for round, lost := range []bool{false, false, true, false} {
				if lost {
					cfg.DB = filepath.Join(t.TempDir(), "weft.db")
				}
				p := mustBegin(t, cfg, tc.window, events)
				if err := p.feed(500); err != nil {
					t.Fatal(err)
				}
				seq := p.store.Seq()
				if err := p.end(time.Minute); err != nil {
					t.Fatal(err)
				}
				st := p.rep.Status()
				// A segment that was being sealed during the last upload may wait for the next start: the log has its rows.
				if st.State == "failing" || st.LagBytes != st.SegmentsWaitingBytes || st.LagTransactions != 0 ||
					st.DurableLogSeq != seq ||
					st.LocalTXID != st.ReplicaTXID || st.LastSuccess == "" || st.LastError != "" || st.SegmentsUploaded == 0 ||
					st.UploadedBytes == 0 {
					t.Errorf("round %d: %+v, log row %d", round, st, seq)
				}
				if n := equalsModel(t, cfg, events, tc.window); n != 500*(round+1) {
					t.Errorf("round %d: %d events came back", round, n)
				}
			}
		})
	}
}
