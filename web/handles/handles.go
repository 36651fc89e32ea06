// Package handles knows the handles of accounts: it asks DNS, the web and the PLC directory, and remembers what they
// say. A handle counts only where both sides say so: the account that it belongs to, and the domain that it is.
//
// Whoever is asked is chosen by strangers, who choose their handles and DIDs. So no private address is ever
// connected to, answers are bounded in size and time, and without the internet it soon stops trying for a while.
package handles

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"weft.dev/weft/link"
	"weft.dev/weft/web"
)

// Directory looks names up. What both sides don't say is none. An error that is ErrAway says that what all names need
// could not be asked: the directory of accounts, or DNS itself. A stranger's domain that answers nothing is none of
// that.
type Directory interface {
	// DID is the account of a handle; an error where there is none.
	DID(ctx context.Context, handle string) (string, error)
	// Handle is the handle of an account; empty where it has none.
	Handle(ctx context.Context, did string) (string, error)
	// Named is the key of the record of an account that has a name; an error where there is none.
	Named(ctx context.Context, did, collection, name string) (string, error)
}

// Config says whom to ask. The zero Config asks the network.
type Config struct {
	Directory Directory        // nil: DNS, the web and plc.directory
	Now       func() time.Time // nil: time.Now
}

const (
	// Handles change seldom, and a page that shows an old one for an hour misleads nobody: it leads to the DID.
	keep = time.Hour
	// What has no handle now, or could not be asked, may in a while.
	keepNothing = 5 * time.Minute
	// A question by a handle is answered by the account that has it: one that moved is followed within this time.
	keepDID = time.Minute
	// A person waits for a search this long. DNS answers in tens of milliseconds, a slow domain in a second or two.
	waitOne = 4 * time.Second
	// And a page, which is there already, for its names.
	waitMany = 3 * time.Second
	// At once: enough for a page of names in a second or so, few enough to be no burden to the directory.
	atOnce = 8
	// After so many failures in a row of what all names need there is no internet; it is tried again after a while.
	failures, rest = 4, 30 * time.Second
	// Names remembered: some 10 MB.
	most = 50_000
	// Lookups under way, of all visitors together.
	allAtOnce = 32
)

// Handles remembers names. It is for any number of goroutines.
type Handles struct {
	directory Directory
	now       func() time.Time

	seats chan struct{} // of lookups

	asking singleflight.Group // lookups under way

	mu         sync.Mutex
	young, old map[string]entry // by DID, and by handle; when the young half is full, the old one goes
	failed     int              // in a row
	restUntil  time.Time
}

// entry is the handle of a DID, or the DID of a handle; empty: it has none that counts.
type entry struct {
	name  string
	until time.Time
}

// ErrAway says that the network could not be asked.
var ErrAway = web.ErrNamesAway

// New returns a memory that is empty.
func New(c Config) *Handles {
	h := &Handles{directory: c.Directory, now: c.Now, young: map[string]entry{}, seats: make(chan struct{}, allAtOnce)}
	if h.directory == nil {
		h.directory = newNetwork()
	}
	if h.now == nil {
		h.now = time.Now
	}
	return h
}

// DID is the account of a handle. The error is ErrAway when nobody could be asked, and another when nobody has this
// handle.
func (h *Handles) DID(ctx context.Context, handle string) (string, error) {
	handle = strings.ToLower(handle)
	if !link.ValidHandle(handle) {
		return "", fmt.Errorf("handles: %.300q is no handle", handle)
	}
	if e, ok := h.get(handle); ok {
		return e.name, nil
	}
	return h.once(ctx, "handle "+handle, func(ctx context.Context) (string, error) {
		did, err := h.directory.DID(ctx, handle)
		if err == nil {
			h.put(did, handle, keep)
			h.put(handle, did, keepDID)
		}
		return did, err
	})
}

// Known is the handle of an account as far as it is remembered; empty when it isn't.
func (h *Handles) Known(did string) string {
	e, _ := h.get(did)
	return e.name
}

// Handles asks for the handles of accounts and gives those that it found in time.
func (h *Handles) Handles(ctx context.Context, dids []string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, waitMany)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, did := range dids {
		if _, ok := h.get(did); ok {
			continue
		}
		g.Go(func() error {
			h.look(ctx, did)
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	found := map[string]string{}
	for _, did := range dids {
		if handle := h.Known(did); handle != "" {
			found[did] = handle
		}
	}
	return found
}

// look asks for one account's handle.
func (h *Handles) look(ctx context.Context, did string) {
	_, _ = h.once(ctx, "account "+did, func(ctx context.Context) (string, error) {
		if e, ok := h.get(did); ok { // it was asked for a moment ago
			return e.name, nil
		}
		handle, err := h.directory.Handle(ctx, did)
		if !unanswered(ctx, err) {
			until := keep
			if handle == "" {
				until = keepNothing
			}
			h.put(did, handle, until)
		}
		return handle, err
	})
}

// once looks something up for all who ask for it together. The look-up goes on when they have left, so that one who
// leaves neither takes the answer from the others nor looks like a failure.
func (h *Handles) once(ctx context.Context, key string, ask func(context.Context) (string, error)) (string, error) {
	if ctx.Err() != nil || h.resting() {
		return "", ErrAway
	}
	answer := h.asking.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitOne)
		defer cancel()
		if h.resting() || !h.enter(ctx) {
			return "", ErrAway
		}
		defer h.leave()
		text, err := ask(ctx)
		h.tell(err)
		if unanswered(ctx, err) {
			err = ErrAway
		}
		return text, err
	})
	patience := time.NewTimer(waitOne)
	defer patience.Stop()
	select {
	case a := <-answer:
		text, _ := a.Val.(string)
		return text, a.Err
	case <-ctx.Done():
	case <-patience.C:
	}
	return "", ErrAway
}

// enter waits for a seat; false: none came free in time.
func (h *Handles) enter(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	default:
	}
	select {
	case h.seats <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (h *Handles) leave() { <-h.seats }

// unanswered reports whether an error is no answer: nothing is remembered of it.
func unanswered(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, ErrAway) || errors.Is(err, errBusy) || errors.Is(err,
		errSilent))
}

// tell counts failures of what all names need.
func (h *Handles) tell(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !errors.Is(err, ErrAway):
		h.failed = 0
	case errors.Is(err, context.Canceled):
	default:
		h.failed++
	}
	if h.failed >= failures {
		h.failed = 0
		h.restUntil = h.now().Add(rest)
	}
}

func (h *Handles) resting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now().Before(h.restUntil)
}

func (h *Handles) get(of string) (entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.young[of]
	if !ok {
		e, ok = h.old[of]
	}
	if !ok || h.now().After(e.until) {
		return entry{}, false
	}
	return e, true
}

func (h *Handles) put(of, name string, keep time.Duration) {
	e := entry{name, h.now().Add(keep)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.young) >= most/2 {
		h.old = h.young
		h.young = make(map[string]entry)
	}
	h.young[of] = e
}
