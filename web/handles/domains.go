package handles

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

const (
	// domainAtOnce and domainRate are the concurrent requests to the hosts of one domain, and the requests a second. A
	// page of names has a few names of one domain; a page with a hundred of them would make weft attack that domain.
	domainAtOnce = 4
	domainBurst  = 10
	domainRate   = 2
	// domainsKept is the number of domains in memory: some 500 kB.
	domainsKept = 4096
)

// hosting are the network's own domains, which host the names of most accounts. Their rate suffices for a page of
// names.
var hosting = map[string]float64{"bsky.social": 20}

// errBusy is returned for a domain that has no requests left at the moment.
var errBusy = errors.New("handles: too many requests to this domain")

// domains limits the requests to the hosts of one domain.
type domains struct {
	now func() time.Time

	mu sync.Mutex
	by map[string]*domain
}

// domain is the remaining requests of a domain at one time.
type domain struct {
	left  float64
	at    time.Time
	under int // current requests
}

func newDomains(now func() time.Time) *domains { return &domains{now: now, by: map[string]*domain{}} }

// enter counts a request to a host; done ends it.
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

// forget drops the domains with a full allowance when there are too many, or any domains if none is full.
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

// domainOf returns the registrable domain of a host: its last two labels, or more where a registry sells names at a
// lower level.
func domainOf(host string) string {
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}
