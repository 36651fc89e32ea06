package replica

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/config"
)

// unlisted is a client whose listings fail while it is away, and have nothing after that.
type unlisted struct {
	litestream.ReplicaClient
	away atomic.Bool
}

func (u *unlisted) LTXFiles(context.Context, int, ltx.TXID, bool) (ltx.FileIterator, error) {
	if u.away.Load() {
		return nil, errAway
	}
	return ltx.NewFileInfoSliceIterator(nil), nil
}

// TestLookFails: while the replica can't be looked at, what is gone from it is not seen, so that the status isn't ok,
// however well uploads go. It is ok soon after a look goes well.
func TestLookFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		u := &unlisted{}
		u.away.Store(true)
		r := New(ReplicatorConfig{Replica: config.Config{Type: "file", Path: t.TempDir()}})
		r.queue, r.client, r.state.checked = &uploadQueue{dir: t.TempDir()}, u, true
		must(t, r.newLease())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.pollLoop(ctx) }()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		r.succeeded("upload")
		if st := r.Status(); st.State != "failing" || !strings.Contains(st.Reason, "look at the replica") ||
			st.Failures < 10 {
			t.Errorf("%+v", st)
		}
		u.away.Store(false)
		time.Sleep(maxBackoff)
		synctest.Wait()
		if st := r.Status(); st.State != "ok" || st.Reason != "" {
			t.Errorf("%+v", st)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestUpkeepFails: a failure of the upkeep is in the status with its reason, is tried again long before the next turn,
// and is no reason any more once it has recovered, while the newest error is still known.
func TestUpkeepFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New(ReplicatorConfig{Replica: config.Config{Type: "file", Path: "/copy"}})
		r.queue = &uploadQueue{}
		ctx, cancel := context.WithCancel(t.Context())
		var turns []time.Duration
		var mu sync.Mutex
		ordered := func() { // synctest.Wait orders nothing for the race detector
			mu.Lock()
			defer mu.Unlock()
		}
		began, fails := time.Now(), 12
		u := task{"compaction into level 1", func(now time.Time) time.Time { return now.Add(24 * time.Hour) },
			func(context.Context) error {
				mu.Lock()
				turns = append(turns, time.Since(began))
				n := len(turns)
				mu.Unlock()
				if n <= fails {
					return errAway
				}
				return nil
			}}
		done := make(chan error, 1)
		go func() { done <- r.runTask(ctx, u) }()
		ordered()
		time.Sleep(time.Hour)
		synctest.Wait()
		ordered()
		if len(turns) != 0 {
			t.Fatalf("it has begun before anything was cut: %v", turns)
		}
		mu.Lock()
		began = time.Now()
		mu.Unlock()
		close(r.begun)
		synctest.Wait()
		ordered()
		if st := r.Status(); st.State != "failing" || st.Reason != "compaction into level 1: "+errAway.Error() ||
			st.Failures != 1 || st.Do == "" {
			t.Errorf("%+v", st)
		}
		ordered()
		time.Sleep(time.Hour)
		synctest.Wait()
		ordered()
		if len(turns) != fails+1 || turns[1] != minBackoff || turns[fails]-turns[fails-1] != maxTaskBackoff {
			t.Errorf("its turns were after %v", turns)
		}
		if st := r.Status(); st.State != "ok" || st.Reason != "" || st.Failures != 0 || st.LastError != errAway.Error() {
			t.Errorf("%+v", st)
		}
		ordered()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		ordered()
		if len(turns) != fails+2 {
			t.Errorf("a day later it has had %d turns", len(turns))
		}
		ordered()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Another's replica is left for good.
		foreign := &ForeignError{}
		if err := r.runTask(t.Context(), task{"snapshot", u.next,
			func(context.Context) error { return foreign }}); !errors.Is(err, foreign) {
			t.Errorf("it ends with %v", err)
		}
	})
}
