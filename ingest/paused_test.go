package ingest

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// TestPausedStore: while the disk is almost full the queue is full and the reader waits, for hours. A stop meanwhile
// ends without an error and moves no cursor. When there is space, everything is committed.
func TestPausedStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const total = 1 << 40
		var free atomic.Int64
		cfg := db.Config{Dir: t.TempDir(), Disk: func(string) (int64, int64, error) { return free.Load(), total, nil }}
		var next uint64 // position of the next event
		begin := func() (s *db.Store, in *Ingest, stop func() error) {
			s, err := db.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			in = New(Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}}, Store: s, BatchEvents: 10})
			in.queue.follow(in.hosts[0].URL, upstream.KindV2)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- in.commit(ctx, ctx) }()
			return s, in, func() error {
				cancel()
				s.Hurry()
				err := <-ended
				if closeErr := s.Close(); err == nil {
					err = closeErr
				}
				return err
			}
		}
		// read queues events until the reader must wait.
		read := func(in *Ingest, most int) (n int) {
			for ; n < most && !in.queue.isFull(); n++ {
				next++
				pos := next
				if err := in.queue.add(t.Context(), func(b *batch) {
					b.seen++
					b.Seq = pos
					b.TimeUS = time.Now().UnixMicro()
				}); err != nil {
					t.Fatal(err)
				}
			}
			return n
		}
		s, in, stop := begin()
		host := in.hosts[0].URL
		read(in, 1000)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := read(in, 1000); n > 100 || !in.queue.isFull() {
			t.Errorf("%d events more were read during the pause", n)
		}
		if s.Paused() == "" || s.Cursor(host) != 0 {
			t.Errorf("paused: %q, cursor %d", s.Paused(), s.Cursor(host))
		}
		if err := stop(); err != nil {
			t.Errorf("a stop during the pause: %v", err)
		}
		s, in, stop = begin()
		if c := s.Cursor(host); c != 0 {
			t.Errorf("after a restart the cursor is %d", c)
		}
		next = 0
		read(in, 1000)
		time.Sleep(time.Minute)
		free.Store(total / 2)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := in.queue.drained(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := s.Cursor(host); c != next || s.Paused() != "" {
			t.Errorf("with room: the cursor is %d of %d, paused: %q", c, next, s.Paused())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
