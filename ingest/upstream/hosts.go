package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// A server that restarts is back within seconds, so the first waits are short. A server that is down for long must
	// not receive many requests.
	backoffMin = 250 * time.Millisecond
	backoffMax = 30 * time.Second
)

// Hosts is the list of upstreams, in order of preference, with the results of their sessions.
type Hosts struct {
	mu   sync.Mutex
	list []*Host
}

// Host is one of Hosts. Its methods may be called from any goroutine.
type Host struct {
	Endpoint
	hosts *Hosts

	kind    string // KindV1 or KindV2; empty: not known
	fails   int    // sessions in a row that ended without an event, and at least 1 after any session
	retry   time.Time
	failure string // why the last session ended; empty: it was healthy then, or there was none
}

// NewHosts returns Hosts without any session.
func NewHosts(endpoints []Endpoint) *Hosts {
	hs := &Hosts{}
	for _, e := range endpoints {
		hs.list = append(hs.list, &Host{Endpoint: e, hosts: hs})
	}
	return hs
}

// All returns the hosts in order of preference. The caller must not change the list.
func (hs *Hosts) All() []*Host { return hs.list }

// Pick returns the host for the next session, and the time to wait before it. current is the host of the last session,
// or nil. After its first failure current gets a second chance at once: a failover costs the overlap.
func (hs *Hosts) Pick(current *Host, now time.Time) (next *Host, wait time.Duration) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if current != nil && current.fails <= 1 {
		for _, h := range hs.list {
			if h == current {
				return h, max(current.retry.Sub(now), 0)
			}
			if h.fails == 0 && !h.retry.After(now) {
				return h, 0 // preferred, and healthy
			}
		}
	}
	for _, h := range hs.list {
		if !h.retry.After(now) {
			return h, 0
		}
		if next == nil || h.retry.Before(next.retry) {
			next = h
		}
	}
	return next, next.retry.Sub(now)
}

// SessionEnded notes that a session failed with err. received reports whether it brought events. With failover the host
// gets no second chance: Pick returns another host if there is one.
func (h *Host) SessionEnded(err error, now time.Time, received, failover bool) {
	h.hosts.mu.Lock()
	defer h.hosts.mu.Unlock()
	h.failure = err.Error()
	if received {
		h.fails = 0
	}
	h.fails++
	if failover {
		h.fails = max(h.fails, 2)
	}
	wait := jitter(min(backoffMin<<min(h.fails-1, 16), backoffMax))
	var refused *Refused
	isRefused := errors.As(err, &refused)
	if isRefused && refused.Wait > wait {
		wait = refused.Wait + rand.N(refused.Wait/10+1)
		h.fails = max(h.fails, 2)
	}
	h.retry = now.Add(wait)
}

// jitter spreads the connections of a server's clients after it restarts.
func jitter(wait time.Duration) time.Duration { return wait/2 + rand.N(wait/2) }

// SetHealthy forgets the failures of a host.
func (h *Host) SetHealthy() {
	h.hosts.mu.Lock()
	defer h.hosts.mu.Unlock()
	h.fails = 0
	h.retry = time.Time{}
	h.failure = ""
}

// SetKind notes the protocol that a host speaks.
func (h *Host) SetKind(kind string) {
	h.hosts.mu.Lock()
	defer h.hosts.mu.Unlock()
	h.kind = kind
}

// Kind returns the protocol that a host speaks: KindV1, KindV2, or empty while it isn't known.
func (h *Host) Kind() string {
	h.hosts.mu.Lock()
	defer h.hosts.mu.Unlock()
	return h.kind
}

// Failure returns why the last session ended and when the next is due. The text is empty for a healthy host.
func (h *Host) Failure() (text string, retry time.Time) {
	h.hosts.mu.Lock()
	defer h.hosts.mu.Unlock()
	return h.failure, h.retry
}

// Probe asks the host for its present protocol. wasV2 means that it spoke v2 when an earlier process followed it.
func (h *Host) Probe(ctx context.Context, wasV2 bool) (Protocol, error) {
	h.hosts.mu.Lock()
	wasV2 = wasV2 || h.kind == KindV2
	fails := h.fails
	h.hosts.mu.Unlock()
	return h.Endpoint.Probe(ctx, wasV2, fails)
}

// FirstEvent returns the position and the time of the host's first event from a cursor on, of all events, without a
// filter; 0 is its tip. found is false if none comes before ctx ends.
func (h *Host) FirstEvent(ctx context.Context, wasV2 bool, cursor uint64) (first Event, found bool, err error) {
	speaks, err := h.Probe(ctx, wasV2)
	if err != nil {
		return Event{}, false, err
	}
	l, err := Dial(ctx, h.Endpoint, speaks.Kind, nil, cursor, Filter{})
	if err != nil {
		return Event{}, false, err
	}
	defer l.Close()
	for {
		var e Event
		err := l.Next(ctx, &e)
		switch {
		case err == nil:
			return Event{Pos: e.Pos, TimeUS: e.TimeUS}, true, nil
		case ctx.Err() != nil:
			return Event{}, false, nil
		case !errors.Is(err, ErrNoEvent) && !errors.Is(err, ErrSkip):
			return Event{}, false, err
		}
	}
}
