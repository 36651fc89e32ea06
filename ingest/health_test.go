package ingest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/upstream"
)

// stuckStore is a store whose Apply waits for a value of commit. A value of parts commits a part.
type stuckStore struct {
	Store
	commit chan struct{}
	parts  chan struct{}

	reachedUS int64
}

func (s *stuckStore) ReachedTime() int64 { return s.reachedUS }

func (s *stuckStore) Commits() <-chan struct{} { return s.parts }

func (s *stuckStore) Apply(b db.Batch) (apply.Counts, error) {
	<-s.commit
	return apply.Counts{}, nil
}

func (s *stuckStore) Cursor(string) uint64 { return 0 }

// TestStuckWriter: lag and readiness follow the committed events. While the writer is stuck the lag grows, also while
// events arrive, and after a minute the index isn't ready.
func TestStuckWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &stuckStore{commit: make(chan struct{})}
		in := New(Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}}, Store: store, Silence: 30 * time.Second})
		in.state.Store(&State{Name: wire.UpstreamFollowing, Connected: true, Kind: upstream.KindV2})
		done := make(chan error, 1)
		go func() { done <- in.commit(t.Context(), t.Context()) }()
		come := func() {
			us := time.Now().UnixMicro()
			if err := in.queue.add(t.Context(), func(b *batch) { b.seen, b.Seq, b.TimeUS = b.seen+1, b.Seq+1, us }); err != nil {
				t.Error(err)
			}
			in.advance(in.hosts[0], 1, us, 1)
		}
		if in.Lag() != 0 {
			t.Errorf("the lag before the first event is %s", in.Lag())
		}
		if err := in.Current(time.Hour); err == nil || !strings.Contains(err.Error(), "no event has been read") {
			t.Errorf("a new index: %v", err)
		}
		store.reachedUS = time.Now().Add(-2 * time.Hour).UnixMicro()
		if err := in.Current(time.Hour); err == nil || !strings.Contains(err.Error(), "the index is 2 h behind the network") {
			t.Errorf("after a restart: %v", err)
		}
		if err := in.Current(3 * time.Hour); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		for second := range 3 { // the writer keeps up
			come()
			time.Sleep(in.cfg.BatchAge)
			store.commit <- struct{}{}
			synctest.Wait()
			if lag := in.Lag(); lag != in.cfg.BatchAge {
				t.Errorf("the lag in second %d is %s", second, lag)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second) // without events it is quiet, not stuck
		synctest.Wait()
		if in.stuck() != 0 {
			t.Error("a quiet upstream is a stuck writer")
		}
		begun := time.Now()
		for time.Since(begun) < stuckAfter {
			if err := in.Ready(); err != nil && time.Since(begun) > 0 {
				t.Fatalf("after %s: %v", time.Since(begun), err)
			}
			come()
			time.Sleep(time.Second)
		}
		if lag := in.Lag(); lag < stuckAfter {
			t.Errorf("the lag of a stuck writer is %s", lag)
		}
		if err := in.Ready(); err == nil || !strings.Contains(err.Error(), "none was committed for 60 s") {
			t.Errorf("ready: %v", err)
		}
		if err := in.Current(time.Minute - time.Second); err == nil ||
			!strings.Contains(err.Error(), "behind the network: events wait") {
			t.Errorf("current: %v", err)
		}
		if err := in.Current(time.Hour); err != nil {
			t.Errorf("within an hour: %v", err)
		}
		if s := in.Status(); !strings.Contains(s.Degraded, "none was committed") || s.LagSeconds < 60 {
			t.Errorf("status: %+v", s)
		}
		store.commit <- struct{}{}
		synctest.Wait()
		if err := in.Ready(); err != nil {
			t.Errorf("after a commit: %v", err)
		}
		store.commit <- struct{}{}
		synctest.Wait()
		if lag := in.Lag(); lag > 2*time.Second || in.queue.depth() != 0 {
			t.Errorf("the lag is %s, with %d events in the queue", lag, in.queue.depth())
		}
		close(store.commit)
	})
}

// TestPartsAreProgress: a batch that commits in parts for longer than stuckAfter isn't stuck; without a part it is.
func TestPartsAreProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &stuckStore{commit: make(chan struct{}), parts: make(chan struct{})}
		in := New(Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}}, Store: store})
		in.state.Store(&State{Name: wire.UpstreamFollowing, Connected: true, Kind: upstream.KindV2})
		go func() { _ = in.commit(t.Context(), t.Context()) }()
		go func() { _ = in.watchCommits(t.Context()) }()
		if err := in.queue.add(t.Context(), func(b *batch) { b.seen++ }); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(stuckAfter - time.Second)
			if d := in.stuck(); d != 0 {
				t.Fatalf("stuck for %s while parts are committed", d)
			}
			store.parts <- struct{}{}
			synctest.Wait()
		}
		time.Sleep(stuckAfter)
		synctest.Wait()
		if d := in.stuck(); d != stuckAfter {
			t.Errorf("stuck for %s after the last part, want %s", d, stuckAfter)
		}
		store.commit <- struct{}{}
		synctest.Wait()
		store.parts <- struct{}{} // of a gap
		synctest.Wait()
		if d := in.stuck(); d != 0 || !in.queue.waiting().IsZero() {
			t.Errorf("stuck for %s without an event", d)
		}
	})
}
