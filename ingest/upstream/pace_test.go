package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: after a read that has waited, the reader of a slow, live stream pauses once; that of a fast one, or of one
// that catches up, never does.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pace
		paused := func() time.Duration {
			t.Helper()
			began := time.Now()
			if err := p.pause(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if d := paused(); d != 0 {
			t.Errorf("before the first frame: %s", d)
		}
		for range 3 {
			for range 20 { // gathered frames
				p.read(10*time.Microsecond, time.Second)
				if d := paused(); d != 0 {
					t.Fatalf("between gathered frames: %s", d)
				}
			}
			p.read(2*time.Millisecond, time.Second)
			if d := paused(); d != gatherTime {
				t.Errorf("after a wait: %s", d)
			}
		}
		for range slowFrames {
			p.read(10*time.Microsecond, time.Second)
		}
		p.read(2*time.Millisecond, time.Second)
		if d := paused(); d != 0 {
			t.Errorf("after the wait of a fast stream: %s", d)
		}
		p.read(2*time.Millisecond, liveLag)
		if d := paused(); d != 0 {
			t.Errorf("while the stream catches up: %s", d)
		}
		p.read(time.Second, -time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.pause(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a pause whose context has ended: %v", err)
		}
	})
}
