// Package handles resolves handles of accounts and handles of DIDs, through DNS, HTTPS and the PLC directory, and
// caches the results. A handle is valid only if both sides agree: its domain names the account, and the account names
// the handle.
//
// Strangers choose the hosts that it queries, because they choose their handles and DIDs. So it never connects to
// private addresses, it limits answers in size and time, and without internet access it soon pauses.
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

// Directory looks names up. A handle without agreement of both sides is no handle. ErrAway means that a service that
// all names need is unreachable: the PLC directory or the DNS resolver. An unreachable domain of a stranger isn't
// ErrAway.
type Directory interface {
	// DID returns the account of a handle, or an error if there is none.
	DID(ctx context.Context, handle string) (string, error)
	// Handle returns the handle of an account; empty: none.
	Handle(ctx context.Context, did string) (string, error)
	// Named returns the key of an account's record with a name, or an error if there is none.
	Named(ctx context.Context, did, collection, name string) (string, error)
}

// Config configures the directory. The zero Config queries the network.
type Config struct {
	Directory Directory        // nil: DNS, the web and plc.directory
	Now       func() time.Time // nil: time.Now
}

const (
	// keep is the time that a handle is cached. Handles rarely change, and an old one on a page for an hour does no
	// harm: the link has the DID.
	keep = time.Hour
	// keepNothing is the time that the lack of a handle is cached.
	keepNothing = 5 * time.Minute
	// keepDID is the time that the account of a handle is cached: a query by a handle that moved follows within this
	// time.
	keepDID = time.Minute
	// waitOne is the time that a search waits. DNS answers in tens of milliseconds, a slow domain in a second or two.
	waitOne = 4 * time.Second
	// waitMany is the time that a displayed page waits for its names.
	waitMany = 3 * time.Second
	// atOnce is the number of concurrent look-ups of a page: enough for a page of names in about a second, few enough
	// for the directory.
	atOnce = 8
	// After this number of consecutive failures of common services, weft assumes that there is no internet access, and
	// pauses for rest.
	failures, rest = 4, 30 * time.Second
	// most is the number of cached names: some 10 MB.
	most = 50_000
	// allAtOnce is the number of concurrent look-ups of all visitors.
	allAtOnce = 32
)

// Handles caches names. It is safe for concurrent use.
type Handles struct {
	directory Directory
	now       func() time.Time

	slots chan struct{} // slots of look-ups

	asking singleflight.Group // look-ups in progress

	mu         sync.Mutex
	young, old map[string]entry // by DID and by handle; when young is full it replaces old
	failed     int              // in a row
	restUntil  time.Time
}

// entry is the handle of a DID, or the DID of a handle; empty: none.
type entry struct {
	name  string
	until time.Time
}

// ErrAway is returned if the network could not be queried.
var ErrAway = web.ErrNamesAway

// New returns an empty cache.
func New(c Config) *Handles {
	h := &Handles{directory: c.Directory, now: c.Now, young: map[string]entry{}, slots: make(chan struct{}, allAtOnce)}
	if h.directory == nil {
		h.directory = newNetwork()
	}
	if h.now == nil {
		h.now = time.Now
	}
	return h
}

// DID returns the account of a handle. The error is ErrAway if the network could not be queried, and another one if the
// handle has no account.
func (h *Handles) DID(ctx context.Context, handle string) (string, error) {
	handle = strings.ToLower(handle)
	if !link.ValidHandle(handle) {
		return "", fmt.Errorf("handles: %.300q is not a handle", handle)
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

// Known returns the cached handle of an account; empty: none cached.
func (h *Handles) Known(did string) string {
	e, _ := h.get(did)
	return e.name
}

// Handles looks up the handles of accounts and returns those found in time.
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
	_ = g.Wait() // the functions return nil
	found := map[string]string{}
	for _, did := range dids {
		if handle := h.Known(did); handle != "" {
			found[did] = handle
		}
	}
	return found
}

// look looks up one account's handle.
func (h *Handles) look(ctx context.Context, did string) {
	_, _ = h.once(ctx, "account "+did, func(ctx context.Context) (string, error) {
		if e, ok := h.get(did); ok { // another goroutine has looked it up meanwhile
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

// once makes one look-up for all concurrent callers with the same key. The look-up continues when a caller leaves, so
// that the others get the answer and a cancellation doesn't count as a failure.
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
		h.countFailure(err)
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

// enter waits for a slot; false: none became free in time.
func (h *Handles) enter(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	default:
	}
	select {
	case h.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (h *Handles) leave() { <-h.slots }

// unanswered reports whether an error is the lack of an answer, which isn't cached.
func unanswered(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, ErrAway) || errors.Is(err, errBusy) || errors.Is(err,
		errSilent))
}

// countFailure counts consecutive failures of common services.
func (h *Handles) countFailure(err error) {
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
