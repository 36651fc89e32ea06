// Package budget limits the share of one client in the resources of a server: bytes of memory, concurrent queries,
// connections.
//
// Each resource is a Budget. A client takes an amount before the work begins and gives it back at the end. A client
// above its share waits only for its own grants, not for those of others.
package budget

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Config configures a budget. Only Total is required.
type Config struct {
	Total   int64 // in bytes, queries or another unit
	PerHost int64 // limit of one host; 0: Total
	PerNet  int64 // limit of one network; 0: Total

	Waiting        int // limit of waiting takers; 0: 512
	WaitingPerHost int // limit of one host; 0: a quarter of Waiting
}

// Each waiting request holds its connection and some 20 kB: 512 of them are 10 MB.
const defaultWaiting = 512

// ErrFull is returned to a taker when the line is full.
var ErrFull = errors.New("budget: too many wait already")

// Budget is an amount that clients share. It is safe for concurrent use.
type Budget struct {
	cfg Config

	mu   sync.Mutex
	free int64
	// held is by network and by host; a network and a host never have the same key. Nil: each may hold all.
	held    map[string]int64
	nets    []*netLine // networks with waiting takers, the next one first
	waiting int
}

// netLine is the line of a network, and hostLine that of a host in it. Networks are served round-robin, and so are the
// hosts of a network.
type netLine struct {
	net   string
	hosts []*hostLine
}

type hostLine struct {
	host   string
	takers []*taker // longest waiting first
}

type taker struct {
	who     Client
	n       int64
	granted chan struct{}
}

// New returns a budget without grants.
func New(c Config) *Budget {
	if c.Waiting <= 0 {
		c.Waiting = defaultWaiting
	}
	if c.WaitingPerHost <= 0 {
		c.WaitingPerHost = max(1, c.Waiting/4)
	}
	if c.PerHost <= 0 || c.PerHost > c.Total {
		c.PerHost = c.Total
	}
	if c.PerNet <= 0 || c.PerNet > c.Total {
		c.PerNet = c.Total
	}
	b := &Budget{cfg: c, free: c.Total}
	if min(c.PerHost, c.PerNet) < c.Total {
		b.held = map[string]int64{}
	}
	return b
}

// Free returns the amount that is not granted.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free
}

// Grant is an amount that a client holds. Its methods are not safe for concurrent use; on a nil Grant they do nothing.
type Grant struct {
	budget *Budget
	who    Client
	n      int64
}

// Try takes n without waiting. It returns nil if n is not free or exceeds the share of who.
func (b *Budget) Try(who Client, n int64) *Grant {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.nets) > 0 && b.free < n+b.nets[0].hosts[0].takers[0].n || b.free < n || !b.mayHold(who, n) {
		return nil
	}
	b.hold(who, n)
	return &Grant{b, who, n}
}

// Take takes n and waits in line if necessary. It returns the error of ctx if n does not come free in time, and ErrFull
// if the line is full or n exceeds the share of who.
func (b *Budget) Take(ctx context.Context, who Client, n int64) (*Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	if n > min(b.cfg.PerHost, b.cfg.PerNet) {
		b.mu.Unlock()
		return nil, ErrFull
	}
	if len(b.nets) == 0 && b.free >= n && b.mayHold(who, n) {
		b.hold(who, n)
		b.mu.Unlock()
		return &Grant{b, who, n}, nil
	}
	t := &taker{who, n, make(chan struct{})}
	if !b.enter(t) {
		b.mu.Unlock()
		return nil, ErrFull
	}
	b.pass() // the waiting clients may all be at their limits
	b.mu.Unlock()
	select {
	case <-t.granted:
		return &Grant{b, who, n}, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.leave(t) { // it was granted at the same moment
		b.put(who, n)
	}
	b.pass()
	return nil, ctx.Err()
}

// Shrink gives back all but n of a grant.
func (g *Grant) Shrink(n int64) {
	if g == nil || n >= g.n {
		return
	}
	g.budget.mu.Lock()
	defer g.budget.mu.Unlock()
	g.budget.put(g.who, g.n-n)
	g.n = n
	g.budget.pass()
}

// Give gives a grant back. Further calls do nothing.
func (g *Grant) Give() { g.Shrink(0) }

func (b *Budget) mayHold(who Client, n int64) bool {
	if b.held == nil {
		return true
	}
	return b.held[who.Host]+n <= b.cfg.PerHost && (who.Net == who.Host || b.held[who.Net]+n <= b.cfg.PerNet)
}

func (b *Budget) hold(who Client, n int64) {
	b.free -= n
	if b.held == nil {
		return
	}
	b.add(who.Host, n)
	if who.Net != who.Host {
		b.add(who.Net, n)
	}
}

func (b *Budget) put(who Client, n int64) {
	b.hold(who, -n)
}

func (b *Budget) add(key string, n int64) {
	b.held[key] += n
	if b.held[key] == 0 {
		delete(b.held, key)
	}
}

// enter adds a taker to the end of its host's line; false: the line is full.
func (b *Budget) enter(t *taker) bool {
	if b.waiting >= b.cfg.Waiting {
		return false
	}
	i := slices.IndexFunc(b.nets, func(l *netLine) bool { return l.net == t.who.Net })
	if i < 0 {
		i = len(b.nets)
		b.nets = append(b.nets, &netLine{net: t.who.Net})
	}
	net := b.nets[i]
	j := slices.IndexFunc(net.hosts, func(l *hostLine) bool { return l.host == t.who.Host })
	if j < 0 {
		j = len(net.hosts)
		net.hosts = append(net.hosts, &hostLine{host: t.who.Host})
	}
	host := net.hosts[j]
	if len(host.takers) >= b.cfg.WaitingPerHost {
		return false
	}
	host.takers = append(host.takers, t)
	b.waiting++
	return true
}

// leave removes a taker from the line; false: it has left the line.
func (b *Budget) leave(t *taker) bool {
	for i, net := range b.nets {
		for j, host := range net.hosts {
			k := slices.Index(host.takers, t)
			if k < 0 {
				continue
			}
			host.takers = slices.Delete(host.takers, k, k+1)
			b.waiting--
			if len(host.takers) == 0 {
				net.hosts = slices.Delete(net.hosts, j, j+1)
			}
			if len(net.hosts) == 0 {
				b.nets = slices.Delete(b.nets, i, i+1)
			}
			return true
		}
	}
	return false
}

// serve removes the first taker of a host from the line, and moves its host and its network to the end of their lines.
func (b *Budget) serve(i, j int) {
	net := b.nets[i]
	host := net.hosts[j]
	host.takers = host.takers[1:]
	b.waiting--
	net.hosts = slices.Delete(net.hosts, j, j+1)
	if len(host.takers) > 0 {
		net.hosts = append(net.hosts, host)
	}
	b.nets = slices.Delete(b.nets, i, i+1)
	if len(net.hosts) > 0 {
		b.nets = append(b.nets, net)
	}
}

// pass grants free amounts to the next takers in line. It skips clients that are at their limits. A client that lacks
// only a free amount stops it, so that small takers do not starve that client.
func (b *Budget) pass() {
	for {
		i, j, ok := b.next()
		if !ok {
			return
		}
		t := b.nets[i].hosts[j].takers[0]
		if b.free < t.n {
			return
		}
		b.hold(t.who, t.n)
		b.serve(i, j)
		close(t.granted)
	}
}

func (b *Budget) next() (i, j int, ok bool) {
	for i, net := range b.nets {
		for j, host := range net.hosts {
			if t := host.takers[0]; b.mayHold(t.who, t.n) {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}
