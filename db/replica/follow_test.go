package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// openFollow opens a follow of a world's replica.
func (w *world) openFollow(dir string) *Follower {
	w.t.Helper()
	f := NewFollower(FollowerConfig{Replica: w.cfg, Dir: dir, CacheBytes: 1 << 16})
	if err := f.Open(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// catchUp has a follow look until there is nothing more, and fetch what it misses.
func (w *world) catchUp(f *Follower) {
	w.t.Helper()
	for range 1000 {
		more, err := f.pollOnce(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		want := f.wanted()
		if !more && len(want) == 0 && !f.unshown {
			return
		}
		if len(want) > 0 {
			if err := f.fetchAll(w.t.Context(), want); err != nil {
				w.t.Fatal(err)
			}
			f.unshown = true
		}
	}
	w.t.Fatal("it looks for ever")
}

// follows holds a follow against the model as of its newest log row.
func (w *world) follows(f *Follower) state {
	w.t.Helper()
	as, ok := w.at(f.Index().Seq())
	if !ok {
		w.t.Fatalf("it shows log row %d, at which no batch ended", f.Index().Seq())
	}
	var m dbtest.Model
	for _, e := range w.events[:as.events] {
		m.Apply(e)
	}
	if err := m.Compare(w.t.Context(), f.Index(), depth(7)); err != nil {
		w.t.Fatalf("as of log row %d: %v", as.log, err)
	}
	return as
}

// TestFollowEqualsModel: a follow shows what its primary wrote, whatever becomes of the files of the replica meanwhile,
// and whether it looks at each of them, sleeps until they are merged, or begins anew.
func TestFollowEqualsModel(t *testing.T) {
	t.Parallel()
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, config.Config{Type: "file", Path: t.TempDir()}, seed,
				[]time.Duration{0, 5 * time.Second, 30 * time.Second}[seed])
			w.write()
			r, dir := rand.New(rand.NewPCG(seed, 8)), t.TempDir()
			f := w.openFollow(dir)
			for i := range steps(40, 18) {
				w.write()
				switch r.IntN(6) {
				case 0:
					w.compact(1)
				case 1:
					w.snapshot()
				case 2: // the follow sleeps, and what comes next for it is there no longer
					w.compact(1)
					if err := os.RemoveAll(filepath.Join(w.cfg.Path, "ltx", "0")); err != nil {
						t.Fatal(err)
					}
					f.listed = time.Time{}
				case 3:
					continue
				case 4:
					if err := f.Close(); err != nil {
						t.Fatal(err)
					}
					f = w.openFollow(dir)
				case 5:
					fresh := w.openFollow(t.TempDir())
					w.follows(fresh)
					if err := fresh.Close(); err != nil {
						t.Fatal(err)
					}
				}
				w.catchUp(f)
				if as := w.follows(f); as.events != len(w.events) {
					t.Fatalf("step %d: it shows %d events of %d", i, as.events, len(w.events))
				}
			}
			st, lag := f.Status(), time.Duration(0)
			if lag, _ = f.Lag(); st.State != "ok" || st.LogSeq != f.Index().Seq() || lag < 0 || lag > time.Minute {
				t.Errorf("%+v, lag %s", st, lag)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// brokenClient is a client whose files break off, are damaged or can't be read.
type brokenClient struct {
	litestream.ReplicaClient
	fault atomic.Int32
}

const (
	faultless = iota
	faultAway
	faultBroken
	faultDamaged
	faultCount
)

var errAway = errors.New("the replica is away")

func (c *brokenClient) OpenLTXFile(ctx context.Context, level int, minTXID, maxTXID ltx.TXID, offset,
	size int64) (io.ReadCloser, error) {
	body, err := c.ReplicaClient.OpenLTXFile(ctx, level, minTXID, maxTXID, offset, size)
	if err != nil || c.fault.Load() == faultless {
		return body, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	switch c.fault.Load() {
	case faultAway:
		return nil, errAway
	case faultBroken:
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)*2/3]), iotest.ErrReader(errAway))), nil
	}
	data[len(data)-1-len(data)/3] ^= 1
	return io.NopCloser(bytes.NewReader(data)), nil
}

// TestFollowFaults: a file that breaks off, is damaged or can't be had changes nothing of what is shown, is said, and
// is taken when it can be had again.
func TestFollowFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Config{Type: "file", Path: t.TempDir()}, 11, time.Minute)
	w.write()
	f := w.openFollow(t.TempDir())
	defer f.Close()
	client := &brokenClient{ReplicaClient: f.client}
	f.client = client
	for i := range 4 * (faultCount - 1) {
		before := w.follows(f)
		w.write()
		client.fault.Store(int32(1 + i%(faultCount-1)))
		_, err := f.pollOnce(t.Context())
		if err == nil {
			t.Fatalf("fault %d went unnoticed", client.fault.Load())
		}
		if damaged := errors.Is(err, restore.ErrDamaged); damaged != (client.fault.Load() == faultDamaged) {
			t.Errorf("fault %d is %v", client.fault.Load(), err)
		}
		f.failed("look", err)
		if st := f.Status(); st.State != "failing" || st.LastError != err.Error() {
			t.Errorf("after %v the status is %+v", err, st)
		}
		if as := w.follows(f); as != before {
			t.Fatalf("a file that could not be had is shown")
		}
		client.fault.Store(faultless)
		w.catchUp(f)
		if f.succeeded(); f.Status().State != "ok" {
			t.Errorf("%+v", f.Status())
		}
		if as := w.follows(f); as.events != len(w.events) {
			t.Fatalf("it shows %d events of %d", as.events, len(w.events))
		}
	}
}

// TestFollowRun: a running follower has the commits of its primary within seconds, fetches segments meanwhile, and ends
// with its context. Another one follows the same replica.
func TestFollowRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Config{Type: "file", Path: t.TempDir()}, 12, time.Minute)
	w.write()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	var follows []*Follower
	for range 2 {
		f := w.openFollow(t.TempDir())
		f.cfg.PollInterval = 10 * time.Millisecond
		follows = append(follows, f)
		go func() { ended <- f.Run(ctx) }()
	}
	w.grow(20)
	for _, f := range follows {
		for deadline := time.Now().Add(time.Minute); f.Index().Seq() != w.states[len(w.states)-1].log ||
			f.Status().MissingSegments > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%+v", f.Status())
			}
		}
		if err := f.Ready(time.Minute); err != nil {
			t.Error(err)
		}
	}
	cancel()
	for _, f := range follows {
		if err := <-ended; err != nil {
			t.Error(err)
		}
		w.follows(f)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFollowReady: a follow isn't ready when the replica has been out of reach for too long, and says why.
func TestFollowReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Config{Type: "file", Path: t.TempDir()}, 13, time.Minute)
	w.write()
	f := w.openFollow(t.TempDir())
	defer f.Close()
	var later atomic.Int64
	f.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	client := &brokenClient{ReplicaClient: f.client}
	f.client = client
	client.fault.Store(faultAway)
	w.write()
	later.Store(int64(2 * time.Minute))
	_, err := f.pollOnce(t.Context())
	f.failed("look", err)
	// Seconds follow where the machine is slow.
	if err := f.Ready(time.Minute); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "follower is 2 min") {
		t.Errorf("two minutes later: %v", err)
	}
	if err := f.Ready(3 * time.Minute); err != nil {
		t.Errorf("within three: %v", err)
	}
	if lag, _ := f.Lag(); lag < 2*time.Minute {
		t.Errorf("the lag is %s", lag)
	}
}

// TestFollowOpen: what can't be followed is refused, and a copy that is there is shown without its replica.
func TestFollowOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Config{Type: "file", Path: filepath.Join(t.TempDir(), "replica")}, 14, time.Minute)
	dir := t.TempDir()
	empty := NewFollower(FollowerConfig{Replica: w.cfg, Dir: dir})
	if err := empty.Open(t.Context()); !errors.Is(err, restore.ErrEmpty) || !strings.Contains(err.Error(), "--replicate") {
		t.Errorf("nothing is followed: %v", err)
	}
	w.grow(8)
	if err := w.openFollow(dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.cfg.Path, w.cfg.Path+"-away"); err != nil {
		t.Fatal(err)
	}
	f := w.openFollow(dir)
	defer f.Close()
	as := w.follows(f)
	if st := f.Status(); st.State != "failing" {
		t.Errorf("without its replica: %+v", st)
	}
	// How old the copy is, is not known: it counts as old as its newest row.
	newest := time.UnixMicro(w.events[as.events-1].TimeUS)
	if lag, _ := f.Lag(); lag < time.Since(newest)-time.Minute {
		t.Errorf("without its replica the lag is %s, and the newest row is of %s", lag, newest)
	}
	if f.Ready(time.Minute) == nil {
		t.Error("a copy of unknown age is ready")
	}
}

// TestFollowGoesBack: where the replica was emptied, and its primary has begun it anew, the copy becomes that of the
// new one.
func TestFollowGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Config{Type: "file", Path: t.TempDir()}, 15, time.Minute)
	w.grow(10)
	dir := t.TempDir()
	if err := w.openFollow(dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.lite.Close(t.Context()), os.RemoveAll(filepath.Join(w.cfg.Path, "ltx")),
		os.RemoveAll(w.lite.MetaPath())); err != nil {
		t.Fatal(err)
	}
	client, err := w.cfg.Client("")
	if err != nil {
		t.Fatal(err)
	}
	w.lite = newLite(filepath.Join(w.dir, "weft.db"), client)
	if err := w.lite.Open(); err != nil {
		t.Fatal(err)
	}
	w.write()
	f := w.openFollow(dir) // it sees the replica behind for the first time, and shows what it had
	defer f.Close()
	if as := w.follows(f); as.events == len(w.events) {
		t.Fatal("it has gone back at once")
	}
	if _, err := f.pollOnce(t.Context()); err == nil || f.Status().State != "failing" {
		t.Errorf("the replica is behind the copy: %v, %+v", err, f.Status())
	}
	f.behindSince = f.behindSince.Add(-listEvery)
	w.catchUp(f)
	if as := w.follows(f); as.events != len(w.events) {
		t.Errorf("it shows %d events of %d", as.events, len(w.events))
	}
}

// removeFrom removes the files of the replica that have a transaction, but for snapshots.
func (w *world) removeFrom(hole ltx.TXID) {
	w.t.Helper()
	client, err := w.cfg.Client("")
	if err != nil {
		w.t.Fatal(err)
	}
	files, err := restore.ListFiles(w.t.Context(), client)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		if f.Level != restore.SnapshotLevel && f.Min <= hole && hole <= f.Max {
			if err := os.Remove(w.object(w.cfg.Path, f)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// TestFollowHole: a follow before a hole is failing from look to look, with advice about the hole, and isn't ready,
// until a snapshot leads over it; whether it finds the hole when it starts or while it runs.
func TestFollowHole(t *testing.T) {
	t.Parallel()
	for _, starts := range []bool{true, false} {
		t.Run(map[bool]string{true: "when it starts", false: "while it runs"}[starts], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, config.Config{Type: "file", Path: t.TempDir()}, 16, time.Minute)
			w.write()
			w.snapshot()
			dir := t.TempDir()
			f := w.openFollow(dir)
			if starts {
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			for range 6 {
				w.write()
			}
			hole := f.at + 3 // two lead up to it
			w.removeFrom(hole)
			began := time.Now()
			if starts {
				f = w.openFollow(dir)
			}
			defer func() { _ = f.Close() }()
			var later time.Duration
			f.cfg.Now = func() time.Time { return time.Now().Add(later) }
			if !starts {
				if _, err := f.pollOnce(t.Context()); err != nil || f.at != hole-1 {
					t.Fatalf("it is at %s, and the hole at %s: %v", f.at, hole, err)
				}
			}
			before := w.follows(f)
			for range 5 {
				if !starts && later < listEvery {
					later = listEvery // until then no listing has shown the hole
				} else {
					later += 250 * time.Millisecond
				}
				more, err := f.pollOnce(t.Context())
				var gap *restore.GapError
				if more || !errors.As(err, &gap) || f.at != hole-1 {
					t.Fatalf("at %s, %v, %v", f.at, more, err)
				}
				f.failed("look", err)
				if st := f.Status(); st.State != "failing" || !strings.Contains(st.Do, "snapshot") ||
					st.LookSeconds < later.Seconds()-1 {
					t.Errorf("%+v", st)
				}
			}
			later += time.Minute
			if err := f.Ready(time.Minute); err == nil {
				t.Error("it is ready")
			}
			if lag, _ := f.Lag(); lag < time.Since(began) {
				t.Errorf("the lag is %s", lag)
			}
			if as := w.follows(f); as != before {
				t.Errorf("it shows %+v, and %+v before", as, before)
			}
			w.snapshot()
			w.catchUp(f)
			f.succeeded()
			if st := f.Status(); st.State != "ok" || f.Ready(time.Minute) != nil {
				t.Errorf("after a snapshot: %+v", st)
			}
			if as := w.follows(f); as.events != len(w.events) {
				t.Errorf("it shows %d events of %d", as.events, len(w.events))
			}
		})
	}
}
