// Package handles knows the handles of accounts: it asks DNS, the web and the PLC directory, and remembers what they say. A
// handle counts only where both sides say so: the account that it belongs to, and the domain that it is.
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

	"weft.dev/weft/link"
	"weft.dev/weft/web"
)

// Directory looks names up. What both sides don't say is none. An error that is ErrAway says that nobody could be asked.
type Directory interface {
	// DID is the account of a handle; an error where there is none.
	DID(ctx context.Context, handle string) (string, error)
	// Handle is the handle of an account; empty where it has none.
	Handle(ctx context.Context, did string) (string, error)
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
	// After so many failures to connect in a row there is no internet; it is tried again after a while.
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

// DID is the account of a handle. The error is ErrAway when nobody could be asked, and another when nobody has this handle.
func (h *Handles) DID(ctx context.Context, handle string) (string, error) {
	handle = strings.ToLower(handle)
	if !link.ValidHandle(handle) {
		return "", fmt.Errorf("handles: %.300q is no handle", handle)
	}
	if e, ok := h.get(handle); ok {
		return e.name, nil
	}
	if h.resting() {
		return "", ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, waitOne)
	defer cancel()
	if !h.enter(ctx) {
		return "", ErrAway
	}
	defer h.leave()
	did, err := h.directory.DID(ctx, handle)
	h.tell(ctx, err)
	if away(ctx, err) {
		return "", ErrAway
	}
	if err == nil {
		h.put(did, handle, keep)
		h.put(handle, did, keepDID)
	}
	return did, err
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
	if h.resting() || !h.enter(ctx) {
		return
	}
	defer h.leave()
	handle, err := h.directory.Handle(ctx, did)
	h.tell(ctx, err)
	if !away(ctx, err) {
		until := keep
		if handle == "" {
			until = keepNothing
		}
		h.put(did, handle, until)
	}
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

// away says that an error is the network's, and not an answer.
func away(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, ErrAway))
}

// tell counts failures to connect.
func (h *Handles) tell(ctx context.Context, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !away(ctx, err) {
		h.failed = 0
		return
	}
	if h.failed++; h.failed >= failures {
		h.failed, h.restUntil = 0, h.now().Add(rest)
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
		h.old, h.young = h.young, make(map[string]entry)
	}
	h.young[of] = e
}
