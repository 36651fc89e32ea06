package handles

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

const (
	// Requests to the hosts of one domain under way, and how many it gets at once and each second. A page of names asks a
	// domain for a few; a hundred names of one domain on a page are an attack on it, from here.
	domainAtOnce = 4
	domainBurst  = 10
	domainRate   = 2
	// Domains remembered: some 500 kB.
	domainsKept = 4096
)

// hosting are the domains of the network's own, which host the names of most accounts: they get as much as a page asks
// for.
var hosting = map[string]float64{"bsky.social": 20}

// errBusy refuses to ask a domain that was asked often a moment ago.
var errBusy = errors.New("handles: this domain was asked often a moment ago")

// domains bounds how often the hosts of one domain are asked.
type domains struct {
	now func() time.Time

	mu sync.Mutex
	by map[string]*domain
}

// domain is what a domain has left, as of a time.
type domain struct {
	left  float64
	at    time.Time
	under int // requests under way
}

func newDomains(now func() time.Time) *domains { return &domains{now: now, by: map[string]*domain{}} }

// enter takes one request to a host. done ends it.
func (d *domains) enter(ctx context.Context, host string) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := domainOf(host)
	times := max(hosting[name], 1)
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.by[name]
	if one == nil {
		d.forget(now)
		one = &domain{left: domainBurst * times, at: now}
		d.by[name] = one
	}
	one.left = min(one.left+max(now.Sub(one.at).Seconds(), 0)*domainRate*times, domainBurst*times)
	one.at = now
	if one.left < 1 || float64(one.under) >= domainAtOnce*times {
		return nil, errBusy
	}
	one.left--
	one.under++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		one.under--
	}, nil
}

// forget lets go of the domains that have all that they may have, when there are many; of any, when none has.
func (d *domains) forget(now time.Time) {
	if len(d.by) < domainsKept {
		return
	}
	for _, quiet := range []time.Duration{domainBurst / domainRate * time.Second, 0} {
		for name, one := range d.by {
			if one.under == 0 && now.Sub(one.at) >= quiet {
				delete(d.by, name)
			}
		}
		if len(d.by) < domainsKept {
			return
		}
	}
}

// domainOf is the last two labels of a host: whose it is mostly, and where a registry sells names below two, those
// together.
func domainOf(host string) string {
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}
