package api

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// growing is an index that gains one link a second.
type growing struct {
	fake
	since time.Time

	mu    sync.Mutex
	space db.Space
	looks int // calls of Space
}

// set changes the result of Space.
func (g *growing) set(change func(sp *db.Space)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.space)
}

func (g *growing) Stats(context.Context) (db.Stats, error) {
	return db.Stats{Links: int64(time.Since(g.since).Seconds())}, nil
}

func (g *growing) Space(context.Context) (db.Space, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looks++
	return g.space, nil
}

// TestHistory: /status has a point for each five seconds of the last ten minutes, and the time when the disk is full
// once the store can estimate it. Space is called every five minutes, which is when the store samples its size.
func TestHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		events := uint64(0)
		store := &growing{fake: indexed, since: time.Now(), space: db.Space{Database: 1000, Free: 86_400_000, Total: 1 << 50}}
		s := New(Config{Store: store, Activity: func() Activity {
			events += 50
			return Activity{events, 1500 * time.Millisecond}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Watch(ctx) }()
		ask := func() wire.Status {
			synctest.Wait()
			var a wire.Status
			if err := json.Unmarshal([]byte(get(t, s, "/status")), &a); err != nil {
				t.Fatal(err)
			}
			return a
		}
		if a := ask(); len(a.History.Points) != 0 || a.History.Every != 5 || a.Space.Growth != nil || a.Space.FullAt != nil {
			t.Errorf("at the start: %+v", a)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if a := ask(); len(a.History.Points) != 2 || a.History.Points[1] != (wire.HistoryPoint{Events: 10, Links: 1,
			Lag: 1.5}) {
			t.Errorf("after eleven seconds: %+v", a.History)
		}
		time.Sleep(29 * time.Minute)
		synctest.Wait()
		if a := ask(); len(a.History.Points) != recentKeeps || a.Space.Growth != nil || a.Space.FullAt != nil {
			t.Errorf("after half an hour: %d points, %+v", len(a.History.Points), a.Space)
		}
		store.mu.Lock()
		looks := store.looks
		store.mu.Unlock()
		if looks < 5 {
			t.Errorf("the space was read %d times in half an hour", looks)
		}
		full := time.Now().Add(24*time.Hour + time.Millisecond)
		store.set(func(sp *db.Space) {
			sp.PerDay = 86_400_000
			sp.Measured = 30 * time.Minute
			sp.FullAt = full
			sp.Reserve = 134_000_000
		})
		a := ask()
		if a.Space.Growth == nil || *a.Space.Growth != 86_400_000 || a.Space.Measured != 1800 || a.Space.FullAt == nil ||
			!a.Space.FullAt.Equal(full.UTC().Truncate(time.Second)) || a.Space.Reserve != 134_000_000 {
			t.Errorf("of %d bytes a day: %+v", 86_400_000, a.Space)
		}
		store.set(func(sp *db.Space) { sp.FullAt = time.Time{} })
		if a := ask(); a.Space.FullAt != nil || a.Space.Growth == nil {
			t.Errorf("full at %s", a.Space.FullAt)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
