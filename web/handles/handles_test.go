package handles

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// directory knows some accounts, and how often it was asked.
type directory struct {
	mu      sync.Mutex
	asked   int
	handles map[string]string // by DID
	err     error
	wait    bool // for ever
}

func (d *directory) ask(ctx context.Context) error {
	d.mu.Lock()
	d.asked++
	wait, err := d.wait, d.err
	d.mu.Unlock()
	if wait {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (d *directory) DID(ctx context.Context, handle string) (string, error) {
	if err := d.ask(ctx); err != nil {
		return "", err
	}
	for did, h := range d.handles {
		if h == handle {
			return did, nil
		}
	}
	return "", errors.New("no such handle")
}

func (d *directory) Handle(ctx context.Context, did string) (string, error) {
	if err := d.ask(ctx); err != nil {
		return "", err
	}
	return d.handles[did], nil
}

const (
	alice = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	bob   = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	carol = "did:plc:cccccccccccccccccccccccc"
)

func TestRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &directory{handles: map[string]string{alice: "alice.test"}}
		h := New(Config{Directory: d})
		if got := h.Known(alice); got != "" {
			t.Fatalf("knows %q before it has asked", got)
		}
		for range 2 {
			if found := h.Handles(t.Context(), []string{alice, bob, carol}); len(found) != 1 || found[alice] != "alice.test" {
				t.Fatalf("found %v", found)
			}
		}
		if d.asked != 3 {
			t.Errorf("asked %d times for three accounts", d.asked)
		}
		if h.Known(alice) != "alice.test" || h.Known(bob) != "" {
			t.Errorf("remembers %q and %q", h.Known(alice), h.Known(bob))
		}
		time.Sleep(keepNothing + time.Second)
		h.Handles(t.Context(), []string{alice, bob, carol})
		if d.asked != 5 {
			t.Errorf("asked %d times when two had to be asked again", d.asked)
		}
		time.Sleep(keep)
		if h.Known(alice) != "" {
			t.Error("remembers a handle for longer than it holds")
		}
		asked := d.asked
		for range 2 {
			if did, err := h.DID(t.Context(), "Alice.test"); did != alice || err != nil {
				t.Errorf("%q, %v", did, err)
			}
		}
		time.Sleep(keepDID + time.Second)
		d.handles = map[string]string{bob: "alice.test"} // it has moved
		if did, err := h.DID(t.Context(), "alice.test"); did != bob || err != nil {
			t.Errorf("a minute later %q, %v", did, err)
		}
		if d.asked != asked+2 {
			t.Errorf("asked %d times for a handle, and again a minute later", d.asked-asked)
		}
		if _, err := h.DID(t.Context(), "nobody.test"); err == nil || errors.Is(err, ErrAway) {
			t.Errorf("of nobody: %v", err)
		}
		if _, err := h.DID(t.Context(), "not a handle"); err == nil {
			t.Error("of no handle: no error")
		}
	})
}

// TestAway: without the internet, it soon stops trying, and tries again later.
func TestAway(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*directory{
		"refused": {err: fmt.Errorf("%w: no route", ErrAway)},
		"silent":  {wait: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := New(Config{Directory: d})
				begin := time.Now()
				for range 3 * failures {
					if _, err := h.DID(t.Context(), "alice.test"); !errors.Is(err, ErrAway) {
						t.Fatal(err)
					}
				}
				if d.asked != failures || time.Since(begin) > failures*waitOne {
					t.Errorf("asked %d times in %v", d.asked, time.Since(begin))
				}
				if found := h.Handles(t.Context(), []string{alice, bob}); len(found) != 0 || d.asked != failures {
					t.Errorf("found %v, asked %d times", found, d.asked)
				}
				time.Sleep(rest)
				d.mu.Lock()
				d.err, d.wait, d.handles = nil, false, map[string]string{alice: "alice.test"}
				d.mu.Unlock()
				if did, err := h.DID(t.Context(), "alice.test"); did != alice || err != nil {
					t.Errorf("%q, %v after the network came back", did, err)
				}
			})
		})
	}
}

// TestSlow: a page's names come when its time is over, with what there is by then.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Directory: &directory{wait: true}})
		begin := time.Now()
		var dids []string
		for i := range 100 {
			dids = append(dids, fmt.Sprintf("did:plc:%024d", i))
		}
		if found := h.Handles(t.Context(), dids); len(found) != 0 || time.Since(begin) > waitMany {
			t.Errorf("found %v after %v", found, time.Since(begin))
		}
	})
}

func TestForgets(t *testing.T) {
	t.Parallel()
	h := New(Config{Directory: &directory{}})
	for i := range 2 * most {
		h.put(fmt.Sprint(i), "x.test", keep)
	}
	if n := len(h.young) + len(h.old); n > most {
		t.Errorf("remembers %d names", n)
	}
	if h.Known(fmt.Sprint(2*most-1)) == "" {
		t.Error("has forgotten the newest")
	}
}
