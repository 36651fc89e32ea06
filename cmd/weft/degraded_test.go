package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// TestWriterDegraded: a writer without events reports that. A paused writer reports the pause and its remedy, but no
// consequence of it. With a limit on the lag, neither is current.
func TestWriterDegraded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const total = 1 << 40
		var free atomic.Int64
		free.Store(total)
		store, err := db.Open(db.Config{Dir: t.TempDir(),
			Disk: func(string) (int64, int64, error) { return free.Load(), total, nil }})
		if err != nil {
			t.Fatal(err)
		}
		w := &writer{store: store, ingest: ingest.New(ingest.Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}},
			Store: store})}
		if why := w.degraded(); !strings.Contains(why, "no event has been read yet: not following") {
			t.Errorf("at the start: %q", why)
		}
		free.Store(0)
		time.Sleep(2 * time.Second) // of the test's clock, so that the store checks the disk
		synctest.Wait()
		if why := w.degraded(); !strings.HasPrefix(why, "indexing is paused: ") || strings.Contains(why, "no event") {
			t.Errorf("paused: %q", why)
		}
		if err := w.current(time.Hour); err == nil {
			t.Error("a paused index that has read nothing is current")
		}
		if _, err := store.Apply(db.Batch{}); err != nil {
			t.Fatal(err) // an empty batch doesn't wait
		}
		free.Store(total)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, err := store.Apply(db.Batch{Host: "http://127.0.0.1:1", Seq: 1, TimeUS: time.Now().UnixMicro()}); err != nil {
			t.Fatal(err)
		}
		if why := w.degraded(); why != "" {
			t.Errorf("with room, after an event: %q", why)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if why := w.degraded(); !strings.Contains(why, "2 min behind the network") {
			t.Errorf("two minutes later: %q", why)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
