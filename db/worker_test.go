package db

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/lsm"
)

// slowRun is a run on a slow disk: an iteration waits for each yieldEvery entries.
type slowRun struct {
	lsm.Run
	wait time.Duration
}

func (r slowRun) Iterate(from, to []byte, reverse bool) (lsm.Iterator, error) {
	it, err := r.Run.Iterate(from, to, reverse)
	return &slowIterator{Iterator: it, wait: r.wait}, err
}

type slowIterator struct {
	lsm.Iterator
	wait time.Duration
	n    int
}

func (it *slowIterator) Next() (bool, error) {
	it.n++
	if it.n%yieldEvery == 0 {
		time.Sleep(it.wait)
	}
	return it.Iterator.Next()
}

// TestYieldingRests: a compaction takes half of a slow disk's time at most, and all of a fast one's.
func TestYieldingRests(t *testing.T) {
	t.Parallel()
	const yields = 20
	keyspace := index.RunKinds[index.RunNames].Keyspace
	b := lsm.NewBuilder(keyspace, 0, 0)
	for i := range uint64(yields * yieldEvery) {
		b.Add(binary.BigEndian.AppendUint64(nil, i), []byte("x"))
	}
	run := b.Finish()
	for _, tc := range []struct {
		name               string
		pacer              *disk.Pacer
		wait, between, max time.Duration
	}{
		{"slow disk", &disk.Pacer{}, 60 * time.Millisecond, 0, yields * 120 * time.Millisecond},
		{"fast disk", &disk.Pacer{}, time.Millisecond, 0, yields * time.Millisecond},
		{"slow disk, with smaller compactions between", &disk.Pacer{}, 60 * time.Millisecond, time.Second,
			yields * (time.Second + 120*time.Millisecond)},
		{"a seal, for which a commit may wait", nil, 60 * time.Millisecond, 0, yields * 60 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &Store{closed: make(chan struct{})}
				entries, err := lsm.NewCompactionIterator(keyspace, []lsm.Run{slowRun{run, tc.wait}}, true)
				if err != nil {
					t.Fatal(err)
				}
				it := s.newYielding(entries, tc.pacer, func() error { time.Sleep(tc.between); return nil })
				time.Sleep(time.Hour) // meanwhile the other runs of the segment are written
				begun := time.Now()
				n := 0
				for more := true; more; n++ {
					more, err = it.Next()
					if err != nil {
						t.Fatal(err)
					}
				}
				took := time.Since(begun)
				if least := tc.max * 9 / 10; n != yields*yieldEvery+1 || took < least || took > tc.max {
					t.Errorf("%d entries in %s, want %d in %s", n-1, took, yields*yieldEvery, tc.max)
				}
			})
		})
	}
}

// TestWaiting: events wait until the last call that waits has ended, and since the last commit.
func TestWaiting(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_770_000_000, 0)
	var w waiting
	for _, step := range []struct {
		name string
		do   func(now time.Time)
		want time.Duration // a second later
	}{
		{"nothing waits", func(time.Time) {}, 0},
		{"a batch", w.begin, time.Second},
		{"a filled gap too", w.begin, 2 * time.Second},
		{"the batch still waits", func(time.Time) { w.end() }, 3 * time.Second},
		{"a part is committed", w.committed, time.Second},
		{"none waits", func(time.Time) { w.end() }, 0},
		{"the next batch", w.begin, time.Second},
		{"the clock goes back", func(now time.Time) { w.committed(now.Add(time.Hour)) }, 0},
	} {
		step.do(now)
		now = now.Add(time.Second)
		if got := w.time(now); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

// TestCompactionAwaitsSeal: a compaction goes on beside a seal, until the changes since take half of the memory of the
// next one. Then it waits for the end of the seal, or for a stop, and for no other seal.
func TestCompactionAwaitsSeal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Config{Dir: t.TempDir(), SealBytes: 32 << 10, Disk: func(string) (int64, int64, error) {
			return 0, 0, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		compact := func() (ended chan struct{}) {
			ended = make(chan struct{})
			go func() {
				s.awaitSeal()
				close(ended)
			}()
			return ended
		}
		check := func(ended chan struct{}, want bool, what string) {
			t.Helper()
			synctest.Wait()
			got := false
			select {
			case <-ended:
				got = true
			default:
			}
			if got != want {
				t.Fatalf("%s: goes on: %t", what, got)
			}
		}
		seq := uint64(0)
		fillHalf := func() {
			for s.core.Snapshot().MutableBytes() < s.cfg.SealBytes/2 {
				seq++
				applyLike(t, s, seq)
			}
		}
		s.seals.busy.Store(true)
		check(compact(), true, "there is memory")
		fillHalf()
		first := compact()
		check(first, false, "memory becomes scarce")
		s.endSeal()
		check(first, true, "the seal has ended")
		check(compact(), true, "there is no seal")

		s.seals.busy.Store(true)
		second := compact()
		check(second, false, "memory is scarce during the next seal")
		sealAll(s) // and another seal begins before the compaction looks
		s.seals.busy.Store(true)
		s.mu.Lock()
		s.sealed.Broadcast()
		s.mu.Unlock()
		check(second, true, "the runs are sealed")

		fillHalf()
		third := compact()
		check(third, false, "memory is scarce again")
		s.Hurry()
		check(third, true, "weft stops")
	})
}
